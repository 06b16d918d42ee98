/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/net-counters.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "pod/files.h"

enum { NET_DEV_MAX = 65536 };

struct work {
        const char **netns; /* NULL: the host's */
        struct net_counters *counters;
        size_t n;
        struct arena *arena;
};

/* "  eth0: bytes packets errs drop fifo frame compressed multicast bytes packets errs drop ..." */
static bool parse_line(const char *line, struct net_interface *ret) {
        const char *colon = strchr(line, ':'), *at = line + strspn(line, " ");
        uint64_t fields[12];
        size_t len;

        /* The titles have no colon. */
        if (!colon || colon < at || memchr(at, '\n', (size_t) (colon - at)))
                return false;
        len = (size_t) (colon - at);
        if (len == 0 || len >= sizeof(ret->name))
                return false;
        *ret = (struct net_interface){ 0 };
        memcpy(ret->name, at, len);
        at = colon + 1;
        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                char *end;

                at += strspn(at, " ");
                if (*at < '0' || *at > '9')
                        return false;
                fields[i] = strtoull(at, &end, 10);
                at = end;
        }
        ret->rx_bytes = fields[0];
        ret->rx_packets = fields[1];
        ret->rx_errors = fields[2];
        ret->rx_dropped = fields[3];
        ret->tx_bytes = fields[8];
        ret->tx_packets = fields[9];
        ret->tx_errors = fields[10];
        ret->tx_dropped = fields[11];
        return true;
}

size_t net_counters_parse(const char *text, struct net_interface *ret, size_t max) {
        size_t n = 0;

        for (const char *line = text; line && *line && n < max; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (parse_line(line, &ret[n]) && !str_eq(ret[n].name, "lo"))
                        n++;
        }
        return n;
}

const struct net_interface *net_counters_find(const struct net_counters *c, const char *name) {
        for (size_t i = 0; i < c->n; i++)
                if (str_eq(c->list[i].name, name))
                        return &c->list[i];
        return NULL;
}

static bool read_net_dev(char *text, size_t size) {
        _cleanup_(fd_closep) int fd = open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC);
        size_t len = 0;
        ssize_t n = 1;

        while (fd >= 0 && len < size - 1 && n > 0) {
                n = read(fd, text + len, size - 1 - len);
                if (n > 0)
                        len += (size_t) n;
                else if (n < 0 && errno == EINTR)
                        n = 1;
        }
        text[len] = '\0';
        return fd >= 0 && n >= 0;
}

static void *read_all(void *arg) {
        struct work *w = arg;
        char *text = xcalloc(1, NET_DEV_MAX);
        struct net_interface *found = xcalloc(NET_INTERFACES_MAX, sizeof(*found));

        for (size_t i = 0; i < w->n; i++) {
                _cleanup_(fd_closep) int fd = w->netns[i] ? open(w->netns[i], O_RDONLY | O_CLOEXEC) : -1;

                /* A pod that is being stopped has none any more. */
                if (fd < 0 || setns(fd, CLONE_NEWNET) < 0 || !read_net_dev(text, NET_DEV_MAX))
                        continue;
                w->counters[i].n = net_counters_parse(text, found, NET_INTERFACES_MAX);
                w->counters[i].list = arena_memdup(w->arena, found, w->counters[i].n * sizeof(*found));
        }
        free(found);
        free(text);
        return NULL;
}

static bool host_network(const struct sandbox *s) {
        const CRI(LinuxPodSandboxConfig) *l = s->config->linux;

        return l && l->security_context && l->security_context->namespace_options &&
               l->security_context->namespace_options->network == CRI_(NAMESPACE_MODE__NODE);
}

int net_counters_read(struct sandbox *const *list, size_t n, struct arena *arena, struct net_counters *ret,
                      struct err *err) {
        struct work w = { arena_array(arena, const char *, n + 1), ret, n, arena };
        bool any = false;
        pthread_t thread;
        int r;

        for (size_t i = 0; i < n; i++) {
                ret[i] = (struct net_counters){ 0 };
                w.netns[i] = host_network(list[i]) ? NULL : pod_ns_file(list[i], "net", false, arena);
                any = any || w.netns[i];
        }
        if (!any)
                return 0;
        r = pthread_create(&thread, NULL, read_all, &w);
        if (r != 0)
                return err_sys(err, r, "start a thread to read network counters");
        pthread_join(thread, NULL);
        return 0;
}
