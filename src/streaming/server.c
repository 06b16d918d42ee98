/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"

enum {
        MAX_ACCEPTS = 16,
        TIMER_ACCURACY_US = 10000,
        /* How long nothing is accepted after descriptors ran out. */
        ACCEPT_PAUSE_MS = 100,
};

/* The timer is left alone when it fires earlier: it then looks what is due and is armed anew. */
void server_arm(struct streaming *s, uint64_t ns) {
        if (ns >= s->armed_ns)
                return;
        s->armed_ns = ns;
        (void) sd_event_source_set_time(s->timer, ns / 1000 + 1);
        (void) sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        struct streaming *s = userdata;
        uint64_t now_ns = clock_monotonic_ns();

        s->armed_ns = UINT64_MAX;
        for (struct client *c = s->clients, *next; c; c = next) {
                next = c->next;
                client_tick(c, now_ns);
        }
        if (s->accept_again_ns && s->accept_again_ns <= now_ns) {
                s->accept_again_ns = 0;
                (void) sd_event_source_set_enabled(s->listen_source, SD_EVENT_ON);
        } else if (s->accept_again_ns) {
                server_arm(s, s->accept_again_ns);
        }
        return 0;
}

static int on_jobs(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct streaming *s = userdata;

        jobs_collect(s->jobs);
        return 0;
}

/* ---- accepting ---- */

/* One that has not shown a token yet makes room: strangers must not keep those out that have one. */
static bool make_room(struct streaming *s) {
        struct client *oldest = NULL;

        if (s->n_clients < s->max_clients)
                return true;
        for (struct client *c = s->clients; c; c = c->next)
                if (c->state == CLIENT_HEAD || c->state == CLIENT_LINGER)
                        oldest = c;
        if (!oldest)
                return false;
        (void) client_free(oldest);
        return true;
}

static void take_client(struct streaming *s, int fd) {
        _cleanup_(fd_closep) int own = fd;
        int one = 1, r;
        struct client *c;
        struct err err;

        /* Keystrokes and their echoes don't wait; a peer whose host has gone is noticed. */
        (void) setsockopt(own, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        (void) setsockopt(own, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
        if (!make_room(s)) {
                static const char busy[] =
                        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

                log_warn("streaming: too many connections", "maximum", LOG_U64(s->max_clients), NULL);
                if (!s->tls)
                        (void) send(own, busy, sizeof(busy) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
                return;
        }
        r = client_new(s, own, &c, &err);
        if (r < 0)
                log_warn("streaming: connection not taken", "error", err.msg, NULL);
        else
                (void) TAKE_FD(own);
}

static int on_listen(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct streaming *s = userdata;

        for (unsigned i = 0; i < MAX_ACCEPTS; i++) {
                int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (client >= 0) {
                        take_client(s, client);
                        continue;
                }
                if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                        log_warn("streaming: no descriptor left for a connection", NULL);
                        (void) sd_event_source_set_enabled(s->listen_source, SD_EVENT_OFF);
                        s->accept_again_ns = clock_monotonic_ns() + ACCEPT_PAUSE_MS * UINT64_C(1000000);
                        server_arm(s, s->accept_again_ns);
                }
                break;
        }
        return 0;
}

/* ---- listening ---- */

union address {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
};

static bool parse_address(const char *text, uint16_t port, union address *ret, socklen_t *ret_len) {
        *ret = (union address){ 0 };
        if (inet_pton(AF_INET, text, &ret->in.sin_addr) == 1) {
                ret->in.sin_family = AF_INET;
                ret->in.sin_port = htons(port);
                *ret_len = sizeof(ret->in);
                return true;
        }
        *ret = (union address){ 0 };
        if (inet_pton(AF_INET6, text, &ret->in6.sin6_addr) != 1)
                return false;
        ret->in6.sin6_family = AF_INET6;
        ret->in6.sin6_port = htons(port);
        *ret_len = sizeof(ret->in6);
        return true;
}

/* What listens on every address is reached through this host's own. */
static void make_base_url(struct streaming *s, const union address *a) {
        const char *scheme = s->tls ? "https" : "http";
        char text[INET6_ADDRSTRLEN];

        if (a->any.sa_family == AF_INET6) {
                const struct in6_addr *host = &a->in6.sin6_addr;

                (void) inet_ntop(AF_INET6, IN6_IS_ADDR_UNSPECIFIED(host) ? &in6addr_loopback : host, text,
                                 sizeof(text));
                (void) snprintf(s->base_url, sizeof(s->base_url), "%s://[%s]:%u", scheme, text,
                                ntohs(a->in6.sin6_port));
        } else {
                struct in_addr host = a->in.sin_addr;

                if (host.s_addr == htonl(INADDR_ANY))
                        host.s_addr = htonl(INADDR_LOOPBACK);
                (void) inet_ntop(AF_INET, &host, text, sizeof(text));
                (void) snprintf(s->base_url, sizeof(s->base_url), "%s://%s:%u", scheme, text, ntohs(a->in.sin_port));
        }
}

static int listen_on(struct streaming *s, const char *text, uint16_t port, struct err *err) {
        union address a;
        socklen_t len;
        int one = 1;

        if (!parse_address(text, port, &a, &len))
                return err_set(err, ERR_INVALID, "streaming address \"%s\" is not an IP address", text);
        s->listen_fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (s->listen_fd < 0)
                return err_sys(err, errno, "create socket");
        (void) setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(s->listen_fd, &a.any, len) < 0 || listen(s->listen_fd, 128) < 0 ||
            getsockname(s->listen_fd, &a.any, &len) < 0)
                return err_sys(err, errno, "listen on %s port %u for streaming", text, port);
        make_base_url(s, &a);
        return 0;
}

/* ---- the server ---- */

static int watch(struct streaming *s, struct err *err) {
        int r = sd_event_add_io(s->loop, &s->listen_source, s->listen_fd, EPOLLIN, on_listen, s);

        if (r >= 0)
                r = sd_event_add_io(s->loop, &s->wake_source, jobs_wake_fd(s->jobs), EPOLLIN, on_jobs, s);
        if (r >= 0)
                r = sd_event_add_time(s->loop, &s->timer, CLOCK_MONOTONIC, UINT64_MAX, TIMER_ACCURACY_US, on_timer, s);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
        return r < 0 ? err_sys(err, -r, "watch the streaming socket") : 0;
}

static uint64_t ms_or(uint64_t ms, uint64_t fallback_ms) {
        return (ms ? ms : fallback_ms) * UINT64_C(1000000);
}

int streaming_new(const struct streaming_args *args, struct streaming **ret, struct err *err) {
        _cleanup_(streaming_freep) struct streaming *s = xnew(struct streaming);
        int r;

        s->listen_fd = -1;
        s->armed_ns = UINT64_MAX;
        s->loop = sd_event_ref(args->loop);
        s->backend = args->backend;
        s->max_clients = args->max_connections ? args->max_connections : 256;
        s->idle_ns = ms_or(args->idle_timeout_ms, UINT64_C(4) * 3600 * 1000);
        s->creation_ns = ms_or(args->creation_timeout_ms, 30 * 1000);
        s->tickets = tickets_new(args->max_tokens ? args->max_tokens : 1000, ms_or(args->token_ttl_ms, 60 * 1000));
        r = jobs_new(args->pool, &s->jobs, err);
        if (r == 0 && args->tls_cert)
                r = tls_new(args->tls_cert, args->tls_key, &s->tls, err);
        if (r == 0)
                r = listen_on(s, args->address ? args->address : "127.0.0.1", args->port, err);
        if (r == 0)
                r = watch(s, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

struct streaming *streaming_free(struct streaming *s) {
        if (!s)
                return NULL;
        s->listen_source = sd_event_source_disable_unref(s->listen_source);
        while (s->clients)
                (void) client_free(s->clients);
        s->wake_source = sd_event_source_disable_unref(s->wake_source);
        s->timer = sd_event_source_disable_unref(s->timer);
        s->jobs = jobs_close(s->jobs);
        s->tickets = tickets_free(s->tickets);
        s->tls = tls_free(s->tls);
        s->listen_fd = fd_close(s->listen_fd);
        s->loop = sd_event_unref(s->loop);
        free(s);
        return NULL;
}

const char *streaming_base_url(const struct streaming *s) {
        return s->base_url;
}

static void make_url(struct streaming *s, enum ticket_kind kind, const char *token, struct arena *arena,
                     const char **ret) {
        *ret = arena_printf(arena, "%s/%s/%s", s->base_url, ticket_kind_name(kind), token);
}

int streaming_exec_url(struct streaming *s, const struct streaming_exec *req, struct arena *arena, const char **ret,
                       struct err *err) {
        char token[TICKET_TOKEN_LEN + 1];
        int r = tickets_put_exec(s->tickets, req, token, err);

        if (r == 0)
                make_url(s, TICKET_EXEC, token, arena, ret);
        return r;
}

int streaming_attach_url(struct streaming *s, const struct streaming_attach *req, struct arena *arena, const char **ret,
                         struct err *err) {
        char token[TICKET_TOKEN_LEN + 1];
        int r = tickets_put_attach(s->tickets, req, token, err);

        if (r == 0)
                make_url(s, TICKET_ATTACH, token, arena, ret);
        return r;
}

int streaming_port_forward_url(struct streaming *s, const struct streaming_port_forward *req, struct arena *arena,
                               const char **ret, struct err *err) {
        char token[TICKET_TOKEN_LEN + 1];
        int r = tickets_put_port_forward(s->tickets, req, token, err);

        if (r == 0)
                make_url(s, TICKET_PORT_FORWARD, token, arena, ret);
        return r;
}
