/* SPDX-License-Identifier: Apache-2.0 */
/* forward - port forwarding: many TCP connections into one sandbox over one client's connection. Each is a pair of
 * channels, one for data and one for what went wrong; SPDY clients open pairs as they need them, WebSocket clients of
 * the old kind have one for each port from the start. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "streaming/pump.h"
#include "streaming/server.h"

enum {
        REQUEST_ID_MAX = 64,
        /* How long the client may still send when the target has ended. */
        AFTER_TARGET_MS = 1000,
        /* How long the target may be silent when the client has ended: it may be at work on the answer. */
        AFTER_CLIENT_MS = 10000,
};

struct pair {
        struct forward *forward;
        struct pair *next;
        char request_id[REQUEST_ID_MAX + 1];
        uint16_t port;
        bool has_data, has_status;
        uint32_t data, status; /* channels */
        struct job *job;       /* that connects */
        struct source source;
        struct sink sink;
        bool is_connected, client_ended, target_ended;
        bool is_over;    /* to be freed in settle() */
        uint64_t due_ns; /* of completeness, then of the end after the first end */
};

struct forward {
        struct session session;
        struct ticket *ticket;
        bool by_port; /* pairs are the request's ports */
        struct pair *pairs;
};

struct forward_job {
        struct job job;
        struct streaming_backend backend;
        char *sandbox_id;
        uint16_t port;
        int fd;
};

static const struct session_ops forward_ops;

/* ---- the pool's side ---- */

static int run_connect(struct job *job, struct err *err) {
        struct forward_job *j = (struct forward_job *) job;

        return j->backend.port_forward(j->backend.userdata, j->sandbox_id, j->port, job->cancel_fd, &j->fd, err);
}

static void release_job(struct job *job) {
        struct forward_job *j = (struct forward_job *) job;

        (void) fd_close(j->fd);
        free(j->sandbox_id);
        free(j);
}

/* ---- the end ---- */

static struct wire *wire_of(const struct pair *p) {
        return &p->forward->session.client->wire;
}

static void end_pair(struct pair *p) {
        if (p->is_over)
                return;
        p->is_over = true;
        job_abandon(p->job);
        p->job = NULL;
        source_close(&p->source);
        sink_close(&p->sink);
}

/* Both directions have ended, or one has and the other had its time. */
static void finish_pair(struct pair *p) {
        if (p->is_over)
                return;
        end_pair(p);
        if (p->has_data) {
                wire_fin(wire_of(p), p->data);
                if (!p->client_ended)
                        wire_reset(wire_of(p), p->data, SPDY_CANCEL);
        }
        if (p->has_status)
                wire_fin(wire_of(p), p->status);
}

static void fail_pair(struct pair *p, const char *why) {
        char text[1400];
        int n;

        if (p->is_over)
                return;
        end_pair(p);
        log_debug("streaming: port forwarding failed", "error", why, NULL);
        if (p->has_status) {
                n = snprintf(text, sizeof(text), "error forwarding port %u to pod %s, uid : %s", p->port,
                             p->forward->ticket->port_forward.sandbox_id, why);
                wire_send(wire_of(p), p->status, text, MIN_OF((size_t) n, sizeof(text) - 1));
                wire_fin(wire_of(p), p->status);
                wire_reset(wire_of(p), p->status, SPDY_CANCEL);
        }
        if (p->has_data)
                wire_reset(wire_of(p), p->data, SPDY_CANCEL);
}

static void wake_at(struct pair *p, uint64_t ns) {
        p->due_ns = ns;
        p->forward->session.wake_ns = MIN_OF(p->forward->session.wake_ns, ns);
}

static void on_target_ended(void *userdata) {
        struct pair *p = userdata;

        p->target_ended = true;
        wire_fin(wire_of(p), p->data);
        if (p->sink.is_closed)
                finish_pair(p);
        else
                wake_at(p, clock_monotonic_ns() + AFTER_TARGET_MS * UINT64_C(1000000));
}

/* All that the client had to say is written, or the target takes nothing any more. */
static void on_client_ended(void *userdata) {
        struct pair *p = userdata;

        if (p->target_ended)
                finish_pair(p);
        else if (p->is_connected)
                wake_at(p, clock_monotonic_ns() + AFTER_CLIENT_MS * UINT64_C(1000000));
}

static struct pair *pair_free(struct pair *p) {
        end_pair(p);
        free(p);
        return NULL;
}

/* ---- the start ---- */

static int connected(struct pair *p, int *fd, struct err *err) {
        int other, r;

        other = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
        if (other < 0)
                return err_sys(err, errno, "duplicate a socket");
        p->is_connected = true;
        r = source_open(&p->source, p->forward->session.client, TAKE_FD(*fd), p->data, err);
        if (r < 0) {
                (void) fd_close(other);
                return r;
        }
        return sink_open(&p->sink, other, err);
}

static void on_connected(struct job *job, void *owner, int result) {
        struct forward_job *j = (struct forward_job *) job;
        struct pair *p = owner;
        struct client *c = p->forward->session.client;

        p->job = NULL;
        if (result == 0)
                result = connected(p, &j->fd, &job->err);
        if (result < 0)
                fail_pair(p, job->err.msg);
        (void) client_settle(c);
}

static void start_pair(struct pair *p) {
        struct forward *f = p->forward;
        struct forward_job *j = xnew(struct forward_job);
        struct err err;

        p->due_ns = UINT64_MAX;
        j->job.run = run_connect;
        j->job.done = on_connected;
        j->job.release = release_job;
        j->job.owner = p;
        j->job.cancel_fd = -1;
        j->backend = f->session.client->server->backend;
        j->sandbox_id = xstrdup(f->ticket->port_forward.sandbox_id);
        j->port = p->port;
        j->fd = -1;
        p->job = &j->job;
        if (job_start(f->session.client->server->jobs, &j->job, &err) < 0) {
                p->job = NULL;
                fail_pair(p, err.msg);
        }
}

static struct pair *pair_new(struct forward *f, uint16_t port) {
        struct pair *p = xnew(struct pair);

        p->forward = f;
        p->port = port;
        p->source.fd = -1;
        p->source.ended = on_target_ended;
        p->source.userdata = p;
        sink_init(&p->sink, f->session.client, on_client_ended, p);
        wake_at(p, clock_monotonic_ns() + f->session.client->server->creation_ns);
        p->next = f->pairs;
        f->pairs = p;
        return p;
}

static void start_session(struct session *s) {
        struct forward *f = (struct forward *) s;
        const struct streaming_port_forward *q = &f->ticket->port_forward;

        for (size_t i = 0; f->by_port && i < q->n_ports; i++) {
                uint16_t port = (uint16_t) q->ports[i];
                uint8_t hello[2] = { (uint8_t) port, (uint8_t) (port >> 8) };
                struct pair *p = pair_new(f, port);

                p->data = (uint32_t) (2 * i);
                p->status = (uint32_t) (2 * i + 1);
                p->has_data = p->has_status = true;
                wire_send(&s->client->wire, p->data, hello, sizeof(hello));
                wire_send(&s->client->wire, p->status, hello, sizeof(hello));
                start_pair(p);
        }
}

/* ---- what the client says ---- */

struct opening {
        bool is_data;
        uint16_t port;
        char request_id[REQUEST_ID_MAX + 1];
};

static bool read_opening(const struct spdy_headers *h, uint32_t channel, struct opening *ret) {
        char type[8], digits[8];
        uint64_t port;

        if (!spdy_headers_get(h, "streamtype", type, sizeof(type)) ||
            !spdy_headers_get(h, "port", digits, sizeof(digits)) || !str_to_u64(digits, &port) || port < 1 ||
            port > UINT16_MAX)
                return false;
        ret->is_data = str_eq(type, "data");
        if (!ret->is_data && !str_eq(type, "error"))
                return false;
        ret->port = (uint16_t) port;
        /* Old clients name no request: data comes right after its error stream. */
        if (!spdy_headers_get(h, "requestid", ret->request_id, sizeof(ret->request_id)))
                (void) snprintf(ret->request_id, sizeof(ret->request_id), "stream %u",
                                ret->is_data ? channel - 2 : channel);
        return true;
}

static struct pair *find_request(const struct forward *f, const char *request_id) {
        struct pair *p = f->pairs;

        while (p && (p->is_over || !str_eq(p->request_id, request_id)))
                p = p->next;
        return p;
}

static void on_opened(void *userdata, uint32_t channel, const struct spdy_headers *headers) {
        struct forward *f = userdata;
        struct wire *w = &f->session.client->wire;
        struct opening o;
        struct pair *p;

        if (!read_opening(headers, channel, &o)) {
                wire_reset(w, channel, SPDY_REFUSED_STREAM);
                return;
        }
        p = find_request(f, o.request_id);
        if (p && (o.is_data ? p->has_data : p->has_status || p->port != o.port)) {
                wire_reset(w, channel, SPDY_PROTOCOL_ERROR);
                return;
        }
        if (!p) {
                p = pair_new(f, o.port);
                memcpy(p->request_id, o.request_id, sizeof(p->request_id));
        }
        wire_accept(w, channel);
        if (o.is_data) {
                p->data = channel;
                p->has_data = true;
                p->port = o.port;
        } else {
                p->status = channel;
                p->has_status = true;
        }
        if (p->has_data && p->has_status)
                start_pair(p);
}

static struct pair *find_data(const struct forward *f, uint32_t channel) {
        struct pair *p = f->pairs;

        while (p && (p->is_over || !p->has_data || p->data != channel))
                p = p->next;
        return p;
}

static void on_data(void *userdata, uint32_t channel, const uint8_t *data, size_t len) {
        struct pair *p = find_data(userdata, channel);

        if (p)
                sink_write(&p->sink, data, len);
}

static void on_ended(void *userdata, uint32_t channel, bool reset) {
        struct pair *p = find_data(userdata, channel);

        /* The error stream's client side ends at once, and that means nothing. */
        if (!p)
                return;
        p->client_ended = true;
        if (reset)
                finish_pair(p);
        else
                sink_end(&p->sink);
}

/* ---- the session ---- */

/* A pair of which one direction has ended: UINT64_MAX when its time is not over, since bytes still move or would, did
 * the client take them. */
static uint64_t extended(const struct pair *p) {
        if (p->target_ended || !p->is_connected || !source_is_open(&p->source))
                return 0;
        if (!client_has_room(p->forward->session.client))
                return clock_monotonic_ns() + AFTER_CLIENT_MS * UINT64_C(1000000);
        return p->source.used_ns + AFTER_CLIENT_MS * UINT64_C(1000000);
}

static void tick_pair(struct pair *p, uint64_t now_ns) {
        if (!p->has_data || !p->has_status) {
                fail_pair(p, "not both streams came in time");
                return;
        }
        p->due_ns = extended(p);
        if (p->due_ns <= now_ns)
                finish_pair(p);
}

static void tick(struct session *s, uint64_t now_ns) {
        struct forward *f = (struct forward *) s;

        for (struct pair *p = f->pairs; p; p = p->next)
                if (!p->is_over && p->due_ns <= now_ns)
                        tick_pair(p, now_ns);
        s->wake_ns = UINT64_MAX;
        for (struct pair *p = f->pairs; p; p = p->next)
                if (!p->is_over)
                        s->wake_ns = MIN_OF(s->wake_ns, p->due_ns);
}

static void settle(struct session *s) {
        struct forward *f = (struct forward *) s;

        for (struct pair **at = &f->pairs; *at;) {
                struct pair *p = *at;

                if (!p->is_over) {
                        at = &p->next;
                        continue;
                }
                *at = p->next;
                (void) pair_free(p);
        }
        if (f->by_port && !f->pairs)
                client_close(s->client);
}

static void free_session(struct session *s) {
        struct forward *f = (struct forward *) s;

        while (f->pairs) {
                struct pair *p = f->pairs;

                f->pairs = p->next;
                (void) pair_free(p);
        }
        f->ticket = ticket_free(f->ticket);
        free(f);
}

static const struct session_ops forward_ops = {
        .wire = { .opened = on_opened, .data = on_data, .ended = on_ended },
        .start = start_session,
        .tick = tick,
        .settle = settle,
        .free = free_session,
};

struct session *forward_new(struct client *c, struct ticket *t, bool by_port) {
        struct forward *f = xnew(struct forward);

        f->session.ops = &forward_ops;
        f->session.client = c;
        f->session.wake_ns = UINT64_MAX;
        f->ticket = t;
        f->by_port = by_port;
        return &f->session;
}
