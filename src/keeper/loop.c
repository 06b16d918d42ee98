/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/loop.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>

enum { BATCH = 64 };

/* The batch being dispatched, so that removing a source can take it out. */
static struct epoll_event batch[BATCH];
static int batch_len, batch_at;

int loop_init(struct loop *l) {
        l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        return l->epoll_fd < 0 ? -errno : 0;
}

int loop_add(struct loop *l, struct source *s, int fd, uint32_t events, void (*fn)(struct source *, uint32_t)) {
        struct epoll_event e = { .events = events, .data.ptr = s };

        s->fn = fn;
        s->fd = fd;
        if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0) {
                s->fd = -1;
                return -errno;
        }
        return 0;
}

void loop_remove(struct loop *l, struct source *s) {
        if (s->fd < 0)
                return;
        (void) epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
        s->fd = -1;
        for (int i = batch_at; i < batch_len; i++)
                if (batch[i].data.ptr == s)
                        batch[i].data.ptr = NULL;
}

void loop_run_once(struct loop *l, int timeout_ms) {
        struct source *s;

        batch_len = epoll_wait(l->epoll_fd, batch, BATCH, timeout_ms);
        for (batch_at = 0; batch_at < batch_len;) {
                s = batch[batch_at].data.ptr;
                batch_at++;
                if (s)
                        s->fn(s, batch[batch_at - 1].events);
        }
        batch_len = batch_at = 0;
}
