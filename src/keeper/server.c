/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/sock.h"
#include "base/str.h"
#include "keeper/keeper.h"

enum { SEND_BUFFER = 4 << 20, MAX_CONNECTIONS = 16 };

struct connection {
        struct source source; /* first */
        struct connection *next;
        struct keeper *keeper;
        int fd;
        bool broken;
};

static void connection_free(struct connection *c) {
        struct connection **p;

        for (p = &c->keeper->connections; *p && *p != c; p = &(*p)->next)
                ;
        if (*p)
                *p = c->next;
        container_forget_waiter(c->keeper, c);
        exec_forget_waiter(c->keeper, c);
        loop_remove(&c->keeper->loop, &c->source);
        (void) close(c->fd);
        free(c);
}

/* A daemon that does not read for megabytes is gone or broken: it has to connect anew and look at the files. */
void server_send_fd(struct connection *c, const struct keeper_reply *reply, int fd) {
        size_t len = offsetof(struct keeper_reply, ready);
        int r;

        if (reply->has_ready)
                len += offsetof(struct plan_ready, groups) + reply->ready.n_groups * sizeof(reply->ready.groups[0]);
        r = c->broken ? -EPIPE : sock_send(c->fd, reply, len, &fd, fd >= 0);
        if (r < 0 && !c->broken) {
                log_warn("lost a daemon", "error", strerror(-r), NULL);
                c->broken = true;
                (void) shutdown(c->fd, SHUT_RDWR);
        }
}

void server_send(struct connection *c, const struct keeper_reply *reply) {
        server_send_fd(c, reply, -1);
}

void server_reply(struct connection *c, uint32_t seq, const char *id, const struct err *err) {
        struct keeper_reply reply = { .type = KEEPER_REPLY, .seq = seq };

        (void) snprintf(reply.id, sizeof(reply.id), "%s", id);
        if (err) {
                reply.code = err->code;
                reply.sys_errno = err->sys_errno;
                (void) snprintf(reply.text, sizeof(reply.text), "%.*s", (int) sizeof(reply.text) - 1, err->msg);
        }
        server_send(c, &reply);
}

void server_broadcast(struct keeper *k, const struct keeper_reply *reply) {
        for (struct connection *c = k->connections; c; c = c->next)
                server_send(c, reply);
}

static void hello(struct connection *c, const struct keeper_request *req) {
        struct keeper_reply reply = { .type = KEEPER_REPLY, .seq = req->seq, .pid = getpid() };

        if (req->flags != KEEPER_VERSION) {
                reply.code = ERR_UNIMPLEMENTED;
                (void) snprintf(reply.text, sizeof(reply.text),
                                "this keeper speaks version %d of the protocol, the daemon %u", KEEPER_VERSION,
                                req->flags);
        }
        server_send(c, &reply);
}

static void dispatch(struct connection *c, const struct keeper_request *req, struct sock_msg *m) {
        struct keeper *k = c->keeper;
        struct err err = { 0 };
        int r = 0;

        switch (req->type) {
        case KEEPER_HELLO:
                hello(c, req);
                return;
        case KEEPER_SPAWN:
                r = container_spawn(k, c, req, m->fds, m->n_fds, &err);
                break;
        case KEEPER_CONTINUE:
                r = container_continue(k, c, req, &err);
                break;
        case KEEPER_START:
                r = container_start(k, c, req, &err);
                break;
        case KEEPER_EXEC:
                r = exec_start(k, c, req, m->fds, m->n_fds, &err);
                break;
        case KEEPER_EXEC_KILL:
                exec_kill(k, c, req->seq);
                return;
        case KEEPER_ATTACH:
                r = container_attach(k, c, req, m->fds, m->n_fds, &err);
                break;
        case KEEPER_END:
                if (map_size(k->containers) == 0)
                        k->told_to_end = true;
                else
                        (void) err_set(&err, ERR_PRECONDITION, "it has containers");
                server_reply(c, req->seq, "", err.code ? &err : NULL);
                return;
        case KEEPER_SET_LOG:
                r = container_set_log(k, req->id, m->n_fds ? TAKE_FD(m->fds[0]) : -1, &err);
                server_reply(c, req->seq, req->id, r < 0 ? &err : NULL);
                return;
        default:
                r = err_set(&err, ERR_UNIMPLEMENTED, "unknown request %u", req->type);
        }
        if (r < 0)
                server_reply(c, req->seq, req->id, &err);
}

static void on_request(struct source *s, uint32_t events) {
        struct connection *c = (struct connection *) s;
        static struct keeper_request req;
        struct sock_msg m;
        int r;

        r = sock_recv(c->fd, &req, sizeof(req) - 1, &m);
        if (r == -EAGAIN)
                return;
        if (r < 0 || m.len < (ssize_t) offsetof(struct keeper_request, config) ||
            req.config_len != (size_t) m.len - offsetof(struct keeper_request, config)) {
                if (r == 0)
                        sock_msg_done(&m);
                connection_free(c);
                return;
        }
        req.config[req.config_len] = '\0';
        req.id[sizeof(req.id) - 1] = '\0';
        dispatch(c, &req, &m);
        sock_msg_done(&m);
        if (c->broken)
                connection_free(c);
}

static void on_connection(struct source *s, uint32_t events) {
        struct keeper *k = (struct keeper *) ((char *) s - offsetof(struct keeper, listen_source));
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), size = SEND_BUFFER, n = 0;
        struct connection *c;

        if (fd < 0)
                return;
        for (c = k->connections; c; c = c->next)
                n++;
        if (n >= MAX_CONNECTIONS) {
                (void) close(fd);
                return;
        }
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
        c = xnew(struct connection);
        c->keeper = k;
        c->fd = fd;
        c->next = k->connections;
        k->connections = c;
        if (loop_add(&k->loop, &c->source, fd, EPOLLIN, on_request) < 0)
                connection_free(c);
}

int server_start(struct keeper *k, int listen_fd, struct err *err) {
        int r = loop_add(&k->loop, &k->listen_source, listen_fd, EPOLLIN, on_connection);

        return r < 0 ? err_sys(err, -r, "watch the keeper's socket") : 0;
}
