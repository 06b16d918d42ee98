/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net-device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/str.h"

enum { ADDRESSES_MAX = 64, BUFFER_SIZE = 32 << 10 };

struct request {
        struct nlmsghdr header;
        char body[512];
};

/* What an address is made again from. */
struct address {
        struct ifaddrmsg msg;
        uint32_t flags;
        uint8_t address[16], local[16], broadcast[4];
        bool has_local, has_broadcast;
};
struct addresses {
        struct address list[ADDRESSES_MAX];
        size_t n;
};

static size_t address_size(const struct address *a) {
        return a->msg.ifa_family == AF_INET ? 4 : 16;
}

/* --- messages --------------------------------------------------------------------------------------------------------
 */

static void *request_init(struct request *r, uint16_t type, uint16_t flags, size_t size) {
        *r = (struct request){ .header = { .nlmsg_len = (uint32_t) NLMSG_LENGTH(size),
                                           .nlmsg_type = type,
                                           .nlmsg_flags = (uint16_t) (NLM_F_REQUEST | flags) } };
        return NLMSG_DATA(&r->header);
}

static void request_add(struct request *r, uint16_t type, const void *data, size_t len) {
        struct rtattr *a = (struct rtattr *) ((char *) r + NLMSG_ALIGN(r->header.nlmsg_len));

        a->rta_type = type;
        a->rta_len = (uint16_t) RTA_LENGTH(len);
        memcpy(RTA_DATA(a), data, len);
        r->header.nlmsg_len = (uint32_t) (NLMSG_ALIGN(r->header.nlmsg_len) + RTA_ALIGN(a->rta_len));
}

/* Sends, and hands each answer to @each until the last. 0 or -errno, the kernel's. */
static int talk(int fd, const struct request *r, void (*each)(const struct nlmsghdr *h, void *userdata),
                void *userdata) {
        char buf[BUFFER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
        ssize_t n;

        if (send(fd, r, r->header.nlmsg_len, 0) < 0)
                return -errno;
        for (;;) {
                n = recv(fd, buf, sizeof(buf), 0);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                for (const struct nlmsghdr *h = (const void *) buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
                        if (h->nlmsg_type == NLMSG_DONE)
                                return 0;
                        if (h->nlmsg_type == NLMSG_ERROR)
                                return ((const struct nlmsgerr *) NLMSG_DATA(h))->error;
                        if (each)
                                each(h, userdata);
                }
        }
}

static int open_netlink(void) {
        int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

        return fd < 0 ? -errno : fd;
}

/* A socket belongs to the namespace in which it was made. */
static int open_netlink_of(pid_t pid) {
        _cleanup_(fd_closep) int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), other = -1;
        char path[64];
        int fd;

        (void) snprintf(path, sizeof(path), "/proc/%d/ns/net", (int) pid);
        other = open(path, O_RDONLY | O_CLOEXEC);
        if (own < 0 || other < 0 || setns(other, CLONE_NEWNET) < 0)
                return -errno;
        fd = open_netlink();
        if (setns(own, CLONE_NEWNET) < 0) {
                (void) fd_close(fd);
                return -errno;
        }
        return fd;
}

/* --- addresses
 * -------------------------------------------------------------------------------------------------------- */

struct wanted {
        struct addresses *to;
        unsigned index;
};

static void take_address(const struct nlmsghdr *h, void *userdata) {
        const struct wanted *w = userdata;
        const struct ifaddrmsg *msg = NLMSG_DATA(h);
        struct address a = { .msg = *msg, .flags = msg->ifa_flags };
        size_t len = IFA_PAYLOAD(h), size = address_size(&a);
        bool has_address = false;

        if (h->nlmsg_type != RTM_NEWADDR || msg->ifa_index != w->index || msg->ifa_scope != RT_SCOPE_UNIVERSE ||
            w->to->n == ADDRESSES_MAX || (msg->ifa_family != AF_INET && msg->ifa_family != AF_INET6))
                return;
        for (const struct rtattr *t = IFA_RTA(msg); RTA_OK(t, len); t = RTA_NEXT(t, len)) {
                size_t n = RTA_PAYLOAD(t);

                if (t->rta_type == IFA_ADDRESS && n == size) {
                        memcpy(a.address, RTA_DATA(t), n);
                        has_address = true;
                } else if (t->rta_type == IFA_LOCAL && n == size) {
                        memcpy(a.local, RTA_DATA(t), n);
                        a.has_local = true;
                } else if (t->rta_type == IFA_BROADCAST && n == sizeof(a.broadcast)) {
                        memcpy(a.broadcast, RTA_DATA(t), n);
                        a.has_broadcast = true;
                } else if (t->rta_type == IFA_FLAGS && n == sizeof(a.flags)) {
                        memcpy(&a.flags, RTA_DATA(t), n);
                }
        }
        if (has_address && a.flags & IFA_F_PERMANENT)
                w->to->list[w->to->n++] = a;
}

static int list_addresses(int fd, unsigned index, struct addresses *ret) {
        struct wanted w = { .to = ret, .index = index };
        struct request r;
        struct ifaddrmsg *msg = request_init(&r, RTM_GETADDR, NLM_F_DUMP, sizeof(*msg));

        msg->ifa_index = index;
        ret->n = 0;
        return talk(fd, &r, take_address, &w);
}

static int add_address(int fd, unsigned index, const struct address *a) {
        struct request r;
        struct ifaddrmsg *msg = request_init(&r, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, sizeof(*msg));
        size_t size = address_size(a);

        *msg = (struct ifaddrmsg){ .ifa_family = a->msg.ifa_family,
                                   .ifa_prefixlen = a->msg.ifa_prefixlen,
                                   .ifa_scope = a->msg.ifa_scope,
                                   .ifa_index = index };
        request_add(&r, IFA_ADDRESS, a->address, size);
        if (a->has_local)
                request_add(&r, IFA_LOCAL, a->local, size);
        if (a->has_broadcast)
                request_add(&r, IFA_BROADCAST, a->broadcast, sizeof(a->broadcast));
        return talk(fd, &r, NULL, NULL);
}

/* --- the device
 * ------------------------------------------------------------------------------------------------------- */

static int move_link(int fd, unsigned index, const char *new_name, pid_t pid) {
        struct request r;
        struct ifinfomsg *msg = request_init(&r, RTM_NEWLINK, NLM_F_ACK, sizeof(*msg));
        uint32_t number = (uint32_t) pid;

        msg->ifi_family = AF_UNSPEC;
        msg->ifi_index = (int) index;
        request_add(&r, IFLA_NET_NS_PID, &number, sizeof(number));
        request_add(&r, IFLA_IFNAME, new_name, strlen(new_name) + 1);
        return talk(fd, &r, NULL, NULL);
}

static int set_up(int fd, unsigned index) {
        struct request r;
        struct ifinfomsg *msg = request_init(&r, RTM_NEWLINK, NLM_F_ACK, sizeof(*msg));

        msg->ifi_family = AF_UNSPEC;
        msg->ifi_index = (int) index;
        msg->ifi_flags = msg->ifi_change = IFF_UP;
        return talk(fd, &r, NULL, NULL);
}

/* It keeps its number there, unless that is taken: then it has another, which its new name tells. */
static void take_index(const struct nlmsghdr *h, void *userdata) {
        if (h->nlmsg_type == RTM_NEWLINK)
                *(unsigned *) userdata = (unsigned) ((const struct ifinfomsg *) NLMSG_DATA(h))->ifi_index;
}

static int find_index(int fd, const char *name, unsigned *ret) {
        struct request r;
        struct ifinfomsg *msg = request_init(&r, RTM_GETLINK, NLM_F_ACK, sizeof(*msg));

        msg->ifi_family = AF_UNSPEC;
        request_add(&r, IFLA_IFNAME, name, strlen(name) + 1);
        return talk(fd, &r, take_index, ret);
}

int net_device_move(const char *name, const char *new_name, pid_t pid, struct err *err) {
        _cleanup_(fd_closep) int here = open_netlink(), there = -1;
        const char *called = str_empty(new_name) ? name : new_name;
        unsigned index = if_nametoindex(name);
        struct addresses addresses;
        int r;

        if (here < 0)
                return err_sys(err, -here, "open a netlink socket");
        if (index == 0)
                return err_set(err, ERR_INVALID, "there is no network device %s on the host", name);
        if (strlen(called) >= IFNAMSIZ)
                return err_set(err, ERR_INVALID, "\"%.64s\" is longer than names of network devices can be", called);
        there = open_netlink_of(pid);
        if (there < 0)
                return err_sys(err, -there, "enter the container's network namespace");
        r = list_addresses(here, index, &addresses);
        if (r == 0)
                r = move_link(here, index, called, pid);
        if (r == -EEXIST)
                return err_set(err, ERR_INVALID, "the container has a network device %s already", called);
        if (r < 0)
                return err_sys(err, -r, "move network device %s into the container as %s", name, called);
        if (!strchr(called, '%') && (r = find_index(there, called, &index)) < 0)
                return err_sys(err, -r, "find network device %s in the container", called);
        for (size_t i = 0; i < addresses.n && r == 0; i++)
                r = add_address(there, index, &addresses.list[i]);
        if (r == 0)
                r = set_up(there, index);
        return r < 0 ? err_sys(err, -r, "set network device %s up in the container", called) : 0;
}
