/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/server.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "grpc/hub.h"
#include "grpc/peer.h"

/* How long nothing is accepted after descriptors ran out. */
static const uint64_t ACCEPT_PAUSE_NS = UINT64_C(100000000);

enum { MAX_ACCEPTS = 16, TIMER_ACCURACY_US = 1000 };

struct grpc_server {
        struct hub *hub;
        sd_event *loop;
        int listen_fd;
        sd_event_source *listen_source, *wake_source, *timer, *shutdown_timer, *done_source;
        uint64_t armed_ns; /* when the timer fires; UINT64_MAX: never */
        uint64_t accept_again_ns;
        struct peer *peers;
        size_t n_peers;
        bool is_closing;
        void (*done)(void *userdata);
        void *done_userdata;
        uint8_t buffer[PEER_BUFFER_BYTES]; /* of whoever reads or writes */
};

/* The timer is left alone when it fires earlier: it then looks what is due and is armed anew. Calls that end before
 * their deadline cost no system call. */
static void arm(struct grpc_server *s, uint64_t ns) {
        if (ns >= s->armed_ns)
                return;
        s->armed_ns = ns;
        (void) sd_event_source_set_time(s->timer, ns / 1000 + 1);
        (void) sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

static int on_done(sd_event_source *source, void *userdata) {
        struct grpc_server *s = userdata;

        /* May free the server. */
        s->done(s->done_userdata);
        return 0;
}

/* On a stack of its own, since what it calls may free the server. */
static void report_done(struct grpc_server *s) {
        if (!s->done || s->done_source)
                return;
        if (sd_event_add_defer(s->loop, &s->done_source, on_done, s) < 0)
                abort();
}

static void check_done(struct grpc_server *s) {
        if (s->is_closing && !s->n_peers && !s->hub->running)
                report_done(s);
}

static void close_peer(struct grpc_server *s, struct peer *p) {
        if (p->prev)
                p->prev->next = p->next;
        else
                s->peers = p->next;
        if (p->next)
                p->next->prev = p->prev;
        s->n_peers--;
        (void) peer_free(p);
        check_done(s);
}

/* After anything that may have given it something to say. The peer may be gone afterwards. */
static void flush(struct grpc_server *s, struct peer *p) {
        if (peer_flush(p, s->buffer))
                arm(s, peer_wake_ns(p));
        else
                close_peer(s, p);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct peer *p = userdata;
        struct grpc_server *s = p->server;

        if (revents & EPOLLIN ? !peer_read(p, s->buffer) : (revents & (EPOLLHUP | EPOLLERR)) != 0)
                close_peer(s, p);
        else
                flush(s, p);
        return 0;
}

static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct grpc_server *s = userdata;
        uint64_t count, now_ns = clock_monotonic_ns();
        struct peer *dirty = NULL;
        struct hub_item item;

        (void) !read(fd, &count, sizeof(count));
        while (hub_take(s->hub, &item)) {
                struct peer *p = item.call->conn ? item.call->conn->owner : NULL;

                conn_deliver(&item, now_ns);
                if (!p || p->is_dirty)
                        continue;
                p->is_dirty = true;
                p->next_dirty = dirty;
                dirty = p;
        }
        while (dirty) {
                struct peer *p = dirty;

                dirty = p->next_dirty;
                p->is_dirty = false;
                flush(s, p);
        }
        check_done(s);
        return 0;
}

static void tick(struct grpc_server *s, struct peer *p, uint64_t now_ns) {
        if (peer_wake_ns(p) > now_ns)
                arm(s, peer_wake_ns(p));
        else if (p->stall_by_ns <= now_ns || !conn_tick(p->conn, now_ns))
                close_peer(s, p);
        else
                flush(s, p);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        struct grpc_server *s = userdata;
        uint64_t now_ns = clock_monotonic_ns();

        s->armed_ns = UINT64_MAX;
        for (struct peer *p = s->peers, *next; p; p = next) {
                next = p->next;
                tick(s, p, now_ns);
        }
        if (s->accept_again_ns <= now_ns && s->listen_source) {
                s->accept_again_ns = UINT64_MAX;
                (void) sd_event_source_set_enabled(s->listen_source, SD_EVENT_ON);
        }
        arm(s, s->accept_again_ns);
        return 0;
}

/* Room for one more connection: the one that has been idle for longest goes. */
static bool make_room(struct grpc_server *s) {
        struct peer *oldest = NULL;

        if (s->n_peers < s->hub->max.connections)
                return true;
        for (struct peer *p = s->peers; p; p = p->next)
                if (p->conn->n_calls == 0 && (!oldest || p->used_ns < oldest->used_ns))
                        oldest = p;
        if (!oldest)
                return false;
        conn_go_away(oldest->conn);
        (void) !peer_flush(oldest, s->buffer);
        close_peer(s, oldest);
        return true;
}

static void add_peer(struct grpc_server *s, int fd) {
        struct err err = { 0 };
        struct peer *p;

        if (!make_room(s)) {
                log_warn("too many gRPC connections, one was refused", "max", LOG_U64(s->hub->max.connections), NULL);
                (void) fd_close(fd);
                return;
        }
        if (peer_new(s->hub, s->loop, fd, on_io, s, &p, &err) < 0) {
                log_warn("cannot serve a gRPC connection", "error", err.msg, NULL);
                (void) fd_close(fd);
                return;
        }
        p->next = s->peers;
        if (s->peers)
                s->peers->prev = p;
        s->peers = p;
        s->n_peers++;
        flush(s, p);
}

static int on_accept(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata) {
        struct grpc_server *s = userdata;

        for (unsigned i = 0; i < MAX_ACCEPTS; i++) {
                int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (fd >= 0) {
                        add_peer(s, fd);
                } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                        log_warn("cannot accept gRPC connections for now", "error", strerror(errno), NULL);
                        (void) sd_event_source_set_enabled(s->listen_source, SD_EVENT_OFF);
                        s->accept_again_ns = clock_monotonic_ns() + ACCEPT_PAUSE_NS;
                        arm(s, s->accept_again_ns);
                        break;
                } else if (errno != EINTR && errno != ECONNABORTED) {
                        break;
                }
        }
        return 0;
}

static int add_sources(struct grpc_server *s, int listen_fd) {
        int r = sd_event_add_io(s->loop, &s->listen_source, listen_fd, EPOLLIN, on_accept, s);

        if (r >= 0)
                r = sd_event_add_io(s->loop, &s->wake_source, s->hub->wake_fd, EPOLLIN, on_wake, s);
        if (r >= 0)
                r = sd_event_add_time(s->loop, &s->timer, CLOCK_MONOTONIC, UINT64_MAX, TIMER_ACCURACY_US, on_timer, s);
        return r;
}

int grpc_server_new(const struct grpc_server_args *args, struct grpc_server **ret, struct err *err) {
        _cleanup_(grpc_server_freep) struct grpc_server *s = xnew(struct grpc_server);
        int r;

        assert(args->pool);
        s->listen_fd = -1;
        s->armed_ns = s->accept_again_ns = UINT64_MAX;
        r = hub_new(args, &s->hub, err);
        if (r < 0)
                return r;
        s->loop = sd_event_ref(args->loop);
        r = add_sources(s, args->listen_fd);
        if (r < 0)
                return err_sys(err, -r, "watch the gRPC socket");
        s->listen_fd = args->listen_fd;
        *ret = TAKE_PTR(s);
        return 0;
}

static int on_shutdown_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        report_done(userdata);
        return 0;
}

void grpc_server_shutdown(struct grpc_server *s, uint64_t timeout_ms, void (*done)(void *userdata), void *userdata) {
        assert(!s->is_closing);
        /* Whoever has connected or written before now is served. */
        (void) on_accept(s->listen_source, s->listen_fd, EPOLLIN, s);
        s->listen_source = sd_event_source_disable_unref(s->listen_source);
        s->listen_fd = fd_close(s->listen_fd);
        s->is_closing = true;
        hub_stop(s->hub);
        s->done = done;
        s->done_userdata = userdata;
        for (struct peer *p = s->peers, *next; p; p = next) {
                next = p->next;
                if (!peer_read(p, s->buffer)) {
                        close_peer(s, p);
                        continue;
                }
                conn_go_away(p->conn);
                flush(s, p);
        }
        if (sd_event_add_time_relative(s->loop, &s->shutdown_timer, CLOCK_MONOTONIC, timeout_ms * 1000,
                                       TIMER_ACCURACY_US, on_shutdown_timeout, s) < 0)
                report_done(s);
        check_done(s);
}

struct grpc_server *grpc_server_free(struct grpc_server *s) {
        if (!s)
                return NULL;
        s->done = NULL;
        while (s->peers)
                close_peer(s, s->peers);
        s->listen_source = sd_event_source_disable_unref(s->listen_source);
        s->wake_source = sd_event_source_disable_unref(s->wake_source);
        s->timer = sd_event_source_disable_unref(s->timer);
        s->shutdown_timer = sd_event_source_disable_unref(s->shutdown_timer);
        s->done_source = sd_event_source_disable_unref(s->done_source);
        s->loop = sd_event_unref(s->loop);
        s->listen_fd = fd_close(s->listen_fd);
        if (s->hub)
                hub_close(s->hub);
        s->hub = hub_unref(s->hub);
        free(s);
        return NULL;
}
