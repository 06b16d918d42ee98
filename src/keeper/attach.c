/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "keeper/log.h"

enum { BACKLOG_MAX = 1 << 20 };

static void leave_stream(struct attachment *a) {
        struct attachment **p;

        if (!a->stream)
                return;
        for (p = &a->stream->attached; *p != a; p = &(*p)->next)
                ;
        *p = a->next;
        a->stream = NULL;
}

static void drop(struct attachment *a) {
        leave_stream(a);
        loop_remove(a->loop, &a->source);
        (void) fd_close(a->fd);
        strbuf_done(&a->backlog);
        free(a);
}

/* False: the client is gone. */
static bool flush(struct attachment *a) {
        ssize_t n;

        while (a->backlog.len) {
                n = write(a->fd, a->backlog.data, a->backlog.len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN) {
                        if (!a->stalled_since_ns)
                                a->stalled_since_ns = clock_monotonic_ns();
                        return true;
                }
                if (n < 0)
                        return false;
                a->stalled_since_ns = 0;
                strbuf_consume(&a->backlog, (size_t) n);
        }
        a->stalled_since_ns = 0;
        return true;
}

static void on_client(struct source *source, uint32_t events) {
        struct attachment *a = (struct attachment *) source;
        struct log_stream *s = a->stream;

        if (events & (EPOLLERR | EPOLLHUP) || !flush(a) || (!s && !a->backlog.len))
                drop(a);
        if (s && !attach_is_behind(s))
                log_stream_pump(s, false);
}

int attach_add(struct log_stream *s, struct loop *l, int fd) {
        struct attachment *a;
        size_t n = 0;
        int r;

        for (a = s->attached; a; a = a->next)
                n++;
        if (s->fd < 0 || n >= ATTACH_MAX) {
                (void) close(fd);
                return s->fd < 0 ? -EPIPE : -EUSERS;
        }
        a = xnew(struct attachment);
        a->stream = s;
        a->loop = l;
        a->fd = fd;
        a->backlog = STRBUF(BACKLOG_MAX);
        a->next = s->attached;
        s->attached = a;
        (void) fcntl(fd, F_SETFL, O_NONBLOCK);
        r = loop_add(l, &a->source, fd, EPOLLOUT | EPOLLET, on_client);
        if (r < 0)
                drop(a);
        return r;
}

bool attach_is_behind(const struct log_stream *s) {
        for (const struct attachment *a = s->attached; a; a = a->next)
                if (a->backlog.len)
                        return true;
        return false;
}

void attach_feed(struct log_stream *s, const char *data, size_t n) {
        struct attachment *a, *next;

        for (a = s->attached; a; a = next) {
                next = a->next;
                strbuf_append(&a->backlog, data, n);
                if (!flush(a) || a->backlog.overflow)
                        drop(a);
        }
}

void attach_close_all(struct log_stream *s) {
        while (s->attached)
                if (s->attached->backlog.len)
                        leave_stream(s->attached);
                else
                        drop(s->attached);
}

void attach_drop_stalled(struct log_stream *s) {
        uint64_t now = clock_monotonic_ns();
        struct attachment *a, *next;

        for (a = s->attached; a; a = next) {
                next = a->next;
                if (a->stalled_since_ns && now - a->stalled_since_ns > ATTACH_STALL_MS * 1000000ull) {
                        log_warn("an attached client does not read and is dropped", NULL);
                        drop(a);
                }
        }
}
