/* SPDX-License-Identifier: Apache-2.0 */
/* addresses - see addresses.h. Read by a thread that lives for one call: a namespace is a thread's, and a worker must
 * not come back in a foreign one. */
#include "net/addresses.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"

enum { INET6_MAX = 1 << 20, HEX_DIGITS = 32, FIELDS = 4 };

struct job {
        const char *netns, *interface;
        struct net_addresses *ret;
        struct err *err;
        int r;
};

static void add(struct net_addresses *to, const struct ip *a, unsigned flags) {
        struct ip link;

        if (to->n == NET_ADDRESSES_MAX || (ip_parse_cidr("fe80::/10", &link) && ip_in(a, &link)))
                return;
        to->settling = to->settling || (flags & IFA_F_TENTATIVE);
        to->list[to->n++] = *a;
}

static uint8_t length_of(const struct sockaddr *mask) {
        struct sockaddr_in in = { 0 };

        if (!mask)
                return 32;
        memcpy(&in, mask, sizeof(in));
        return (uint8_t) __builtin_popcount(in.sin_addr.s_addr);
}

static void add_inet4(const char *interface, struct net_addresses *to) {
        struct ifaddrs *all;

        if (getifaddrs(&all) < 0)
                return;
        for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
                struct ip a = { .family = 4 };
                struct sockaddr_in in;

                if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !str_eq(i->ifa_name, interface))
                        continue;
                memcpy(&in, i->ifa_addr, sizeof(in));
                memcpy(a.bytes, &in.sin_addr, 4);
                a.prefix = length_of(i->ifa_netmask);
                add(to, &a, 0);
        }
        freeifaddrs(all);
}

/* "fd000099000000000000000000000110 02 40 00 80     eth0": address, index, prefix, scope and flags in hex, name. */
static bool parse_line(const char *line, const char *interface, struct ip *ret, unsigned *ret_flags) {
        unsigned long fields[FIELDS];
        const char *at = line + HEX_DIGITS;
        struct ip a = { .family = 6 };
        size_t len;

        if (strspn(line, "0123456789abcdef") != HEX_DIGITS)
                return false;
        for (size_t i = 0; i < HEX_DIGITS / 2; i++)
                a.bytes[i] = (uint8_t) hex_decode_byte(line + 2 * i);
        for (size_t i = 0; i < FIELDS; i++) {
                char *end;

                fields[i] = strtoul(at, &end, 16);
                if (end == at)
                        return false;
                at = end;
        }
        at += strspn(at, " ");
        len = strcspn(at, "\n");
        if (fields[1] > 128 || len != strlen(interface) || memcmp(at, interface, len) != 0)
                return false;
        a.prefix = (uint8_t) fields[1];
        *ret = a;
        *ret_flags = (unsigned) fields[3];
        return true;
}

void net_addresses_parse_inet6(const char *text, const char *interface, struct net_addresses *to) {
        for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
                unsigned flags;
                struct ip a;

                if (parse_line(line, interface, &a, &flags))
                        add(to, &a, flags);
        }
}

static void *run(void *arg) {
        _cleanup_(fd_closep) int fd = -1;
        _cleanup_(freep) char *inet6 = NULL;
        struct job *j = arg;
        struct err ignored;

        fd = open(j->netns, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) {
                j->r = err_set(j->err, ERR_PRECONDITION, "enter the network namespace %s: %s", j->netns,
                               strerrordesc_np(errno));
                return NULL;
        }
        add_inet4(j->interface, j->ret);
        /* Without IPv6 there is no such file. */
        if (fs_read_file(AT_FDCWD, "/proc/thread-self/net/if_inet6", INET6_MAX, &inet6, NULL, &ignored) == 0)
                net_addresses_parse_inet6(inet6, j->interface, j->ret);
        return NULL;
}

int net_addresses_read(const char *netns, const char *interface, struct net_addresses *ret, struct err *err) {
        struct net_addresses found = { 0 };
        struct job j = { .netns = netns, .interface = interface, .ret = &found, .err = err };
        pthread_t thread;
        int r = pthread_create(&thread, NULL, run, &j);

        if (r != 0)
                return err_sys(err, r, "start a thread to read a pod's addresses");
        (void) pthread_join(thread, NULL);
        if (j.r == 0)
                *ret = found;
        return j.r;
}
