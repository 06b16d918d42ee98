/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/client.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "streaming/pump.h"
#include "streaming/server.h"

static const uint64_t SECOND_NS = UINT64_C(1000000000);

enum {
        HEAD_SECONDS = 10,
        /* The client has all and goes: closing at once could take away what it hasn't read. */
        LINGER_SECONDS = 5,
        /* A client that is gone, as it seems, while what it sent still waits. */
        HANGUP_SECONDS = 10,
        /* WebSocket clients of Kubernetes go after 61 seconds without a pong. */
        KEEPALIVE_SECONDS = 15,
        /* Reads in a row, so that no client keeps the others waiting. */
        MAX_READS = 8,
};

static const char *const remote_command_spdy[] = { "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io",
                                                   "channel.k8s.io", NULL };
static const char *const remote_command_websocket[] = { "v5.channel.k8s.io",        "v4.channel.k8s.io",
                                                        "v4.base64.channel.k8s.io", "channel.k8s.io",
                                                        "base64.channel.k8s.io",    NULL };
static const char *const port_forward_spdy[] = { "portforward.k8s.io", NULL };
static const char tunnel[] = "SPDY/3.1+portforward.k8s.io";
static const char *const port_forward_websocket[] = { tunnel, "v4.channel.k8s.io", "v4.base64.channel.k8s.io", NULL };

static int on_io(sd_event_source *io, int fd, uint32_t revents, void *userdata);

int client_new(struct streaming *server, int fd, struct client **ret, struct err *err) {
        struct client *c = xnew(struct client);
        int r = server->tls ? tls_accept(server->tls, fd, &c->tls, err) : 0;

        if (r < 0) {
                free(c);
                return r;
        }
        c->server = server;
        c->head = STRBUF(UPGRADE_HEAD_MAX + SERVER_BUFFER_BYTES);
        c->out = QUEUE(CLIENT_OUT_MAX);
        c->events = EPOLLIN | EPOLLRDHUP;
        c->used_ns = clock_monotonic_ns();
        c->due_ns = c->used_ns + HEAD_SECONDS * SECOND_NS;
        r = sd_event_add_io(server->loop, &c->io, fd, c->events, on_io, c);
        if (r < 0) {
                (void) tls_conn_free(c->tls);
                free(c);
                return err_sys(err, -r, "watch a connection");
        }
        c->fd = fd;
        c->next = server->clients;
        if (c->next)
                c->next->prev = c;
        server->clients = c;
        server->n_clients++;
        server_arm(server, c->due_ns);
        *ret = c;
        return 0;
}

static void end_session(struct client *c) {
        if (!c->session)
                return;
        c->session->ops->free(c->session);
        c->session = NULL;
}

struct client *client_free(struct client *c) {
        if (!c)
                return NULL;
        end_session(c);
        if (c->prev)
                c->prev->next = c->next;
        else
                c->server->clients = c->next;
        if (c->next)
                c->next->prev = c->prev;
        c->server->n_clients--;
        wire_done(&c->wire);
        strbuf_done(&c->head);
        queue_done(&c->out);
        c->io = sd_event_source_disable_unref(c->io);
        (void) tls_conn_free(c->tls);
        c->fd = fd_close(c->fd);
        free(c);
        return NULL;
}

void client_fail(struct client *c) {
        c->state = CLIENT_FAILED;
}

void client_close(struct client *c) {
        if (c->state != CLIENT_OPEN)
                return;
        wire_close(&c->wire);
        c->state = CLIENT_CLOSING;
}

static void refuse(struct client *c, int status, const char *const *accepted, const char *message) {
        upgrade_refuse(&c->out.bytes, status, accepted, message);
        c->state = CLIENT_CLOSING;
}

void client_refuse(struct client *c, int status, const char *message) {
        refuse(c, status, NULL, message);
}

/* ---- the request ---- */

/* 1 to 5, by a protocol's name; 0: the one without a name. */
static unsigned protocol_version(const char *name) {
        if (!name)
                return 0;
        return name[0] == 'v' && name[1] >= '2' && name[1] <= '9' ? (unsigned) (name[1] - '0') : 1;
}

static void open_session(struct client *c, struct ticket *t, enum wire_kind kind, unsigned version) {
        c->state = CLIENT_OPEN;
        strbuf_done(&c->head);
        if (t->kind == TICKET_PORT_FORWARD)
                c->session = forward_new(c, t, kind == WIRE_CHANNELS || kind == WIRE_BASE64);
        else
                c->session = command_new(c, t, kind, version);
        wire_init(&c->wire, kind, version == 5, CLIENT_MAX_STREAMS, &c->out, &c->session->ops->wire, c->session);
        c->session->ops->start(c->session);
}

static void upgrade_to_spdy(struct client *c, const struct upgrade_request *q, struct ticket **t) {
        const char *const *known = (*t)->kind == TICKET_PORT_FORWARD ? port_forward_spdy : remote_command_spdy;
        const char *chosen = upgrade_choose(&q->stream_protocols, known);

        if (!q->stream_protocols.n) {
                refuse(c, 400, NULL, "unable to upgrade: X-Stream-Protocol-Version header is missing");
        } else if (!chosen) {
                refuse(c, 403, known, "unable to upgrade: no protocol that both sides know");
        } else {
                upgrade_accept_spdy(&c->out.bytes, chosen);
                open_session(c, TAKE_PTR(*t), WIRE_SPDY, protocol_version(chosen));
        }
}

/* Clients of the old kind may say their ports in the request too. */
static bool add_query_ports(struct ticket *t, const char *query) {
        struct streaming_port_forward *f = &t->port_forward;
        int32_t *ports = arena_array(t->memory, int32_t, TICKET_MAX_PORTS);

        f->ports = ports;
        for (const char *p = query; *p;) {
                size_t len = strcspn(p, "&");
                const char *value = str_after(p, "port=");
                char digits[8];
                uint64_t port;

                if (value) {
                        size_t n = len - (size_t) (value - p);

                        if (n >= sizeof(digits) || f->n_ports == TICKET_MAX_PORTS)
                                return false;
                        memcpy(digits, value, n);
                        digits[n] = '\0';
                        if (!str_to_u64(digits, &port) || port < 1 || port > UINT16_MAX)
                                return false;
                        ports[f->n_ports++] = (int32_t) port;
                }
                p += len + (p[len] == '&');
        }
        return f->n_ports > 0;
}

static enum wire_kind websocket_kind(const char *protocol) {
        if (!protocol)
                return WIRE_CHANNELS;
        if (str_eq(protocol, tunnel))
                return WIRE_TUNNEL;
        return strstr(protocol, "base64") ? WIRE_BASE64 : WIRE_CHANNELS;
}

static void upgrade_to_websocket(struct client *c, const struct upgrade_request *q, struct ticket **t) {
        bool is_forward = (*t)->kind == TICKET_PORT_FORWARD;
        const char *const *known = is_forward ? port_forward_websocket : remote_command_websocket;
        const char *chosen = upgrade_choose(&q->ws_protocols, known);
        enum wire_kind kind = websocket_kind(chosen);

        if (!q->ws_version_ok)
                refuse(c, 426, NULL, "only version 13 of the WebSocket protocol is spoken here");
        else if (!q->is_get || !*q->ws_key)
                refuse(c, 400, NULL, "not a WebSocket handshake");
        else if (!chosen && (q->ws_protocols.n || is_forward))
                refuse(c, 403, known, "unable to upgrade: no protocol that both sides know");
        else if (is_forward && kind != WIRE_TUNNEL && !(*t)->port_forward.n_ports && !add_query_ports(*t, q->query))
                refuse(c, 400, NULL, "the ports to forward are missing or not between 1 and 65535");
        else {
                upgrade_accept_websocket(&c->out.bytes, q->ws_key, chosen);
                open_session(c, TAKE_PTR(*t), kind, protocol_version(chosen));
        }
}

static void take_request(struct client *c, const struct upgrade_request *q) {
        _cleanup_(ticket_freep) struct ticket *t = tickets_take(c->server->tickets, q->path);

        if (!t) {
                refuse(c, 404, NULL, "no such request: it is used, has expired, or never was");
                return;
        }
        switch (q->kind) {
        case UPGRADE_WEBSOCKET:
                upgrade_to_websocket(c, q, &t);
                break;
        case UPGRADE_SPDY:
                upgrade_to_spdy(c, q, &t);
                break;
        case UPGRADE_NONE:
                refuse(c, 400, NULL, "unable to upgrade: neither SPDY/3.1 nor websocket is asked for");
                break;
        }
}

static void feed_wire(struct client *c, uint8_t *data, size_t len) {
        if (c->state == CLIENT_OPEN && !wire_feed(&c->wire, data, len) && c->state == CLIENT_OPEN)
                c->state = CLIENT_CLOSING;
}

static void feed_head(struct client *c, const uint8_t *data, size_t len) {
        _cleanup_(freep) struct upgrade_request *q = xnew(struct upgrade_request);
        _cleanup_strbuf_ struct strbuf rest = STRBUF(UPGRADE_HEAD_MAX + SERVER_BUFFER_BYTES);
        ssize_t n;

        strbuf_append(&c->head, data, len);
        n = upgrade_parse(strbuf_str(&c->head), c->head.len, q);
        if (n < 0) {
                refuse(c, (int) -n, NULL, "not a request that can be served here");
                return;
        }
        if (n == 0)
                return;
        /* The client may have begun to speak the new protocol already. */
        strbuf_append(&rest, c->head.data + n, c->head.len - (size_t) n);
        take_request(c, q);
        for (size_t at = 0, piece; at < rest.len; at += piece) {
                piece = MIN_OF(rest.len - at, (size_t) WIRE_PIECE_MAX);
                feed_wire(c, (uint8_t *) rest.data + at, piece);
        }
}

/* ---- the socket ---- */

static bool wants_input(const struct client *c) {
        switch (c->state) {
        case CLIENT_HEAD:
                return true;
        case CLIENT_OPEN:
                return !c->in_paused && queue_len(&c->out) < CLIENT_OUT_HIGH;
        case CLIENT_CLOSING:
        case CLIENT_LINGER:
                return true;
        case CLIENT_FAILED:
                break;
        }
        return false;
}

static void take_input(struct client *c, uint8_t *data, size_t len) {
        c->used_ns = clock_monotonic_ns();
        switch (c->state) {
        case CLIENT_HEAD:
                feed_head(c, data, len);
                break;
        case CLIENT_OPEN:
                feed_wire(c, data, len);
                if (c->in_waiting >= CLIENT_IN_HIGH) {
                        c->in_paused = true;
                        c->pinged_ns = c->used_ns;
                }
                break;
        case CLIENT_CLOSING:
        case CLIENT_LINGER:
        case CLIENT_FAILED:
                break; /* of no interest any more */
        }
}

/* As recv(2) and send(2), but -errno. */
static ssize_t receive(struct client *c, void *buffer, size_t size) {
        ssize_t n = c->tls ? tls_read(c->tls, buffer, size) : recv(c->fd, buffer, size, MSG_DONTWAIT);

        return n < 0 && !c->tls ? -errno : n;
}

static ssize_t transmit(struct client *c, const void *data, size_t len) {
        ssize_t n = c->tls ? tls_write(c->tls, data, len) : send(c->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        return n < 0 && !c->tls ? -errno : n;
}

static void read_socket(struct client *c) {
        for (unsigned i = 0; i < MAX_READS && wants_input(c); i++) {
                ssize_t n = receive(c, c->server->client_buffer, SERVER_BUFFER_BYTES);

                if (n == -EINTR)
                        continue;
                if (n == -EAGAIN)
                        return;
                if (n <= 0) {
                        /* Who has sent all may still want to read the answer to a request that failed. */
                        if (n < 0 || c->state != CLIENT_CLOSING)
                                client_fail(c);
                        c->peer_hung_up = true;
                        return;
                }
                take_input(c, c->server->client_buffer, (size_t) n);
                /* TLS gives a record at a time, and keeps nothing back between them. */
                if (n < SERVER_BUFFER_BYTES && !c->tls)
                        return;
        }
}

static void write_socket(struct client *c) {
        while (queue_len(&c->out)) {
                ssize_t n = transmit(c, queue_front(&c->out), queue_len(&c->out));

                if (n == -EINTR)
                        continue;
                if (n < 0) {
                        if (n != -EAGAIN)
                                client_fail(c);
                        return;
                }
                c->used_ns = clock_monotonic_ns();
                queue_consume(&c->out, (size_t) n);
        }
}

static int on_io(sd_event_source *io, int fd, uint32_t revents, void *userdata) {
        struct client *c = userdata;

        if (revents & (EPOLLERR | EPOLLHUP)) {
                client_fail(c);
        } else if ((revents & EPOLLIN || (c->tls && tls_wants_out(c->tls))) && wants_input(c)) {
                read_socket(c);
        } else if (revents & EPOLLRDHUP && !c->peer_hung_up) {
                /* Not to be told again. What it sent may still be wanted; tick() does not wait for that for long. */
                c->peer_hung_up = true;
                c->due_ns = clock_monotonic_ns() + HANGUP_SECONDS * SECOND_NS;
        }
        (void) client_settle(c);
        return 0;
}

/* ---- after each event ---- */

static void update_sources(struct client *c) {
        if (c->out_paused && queue_len(&c->out) <= CLIENT_OUT_LOW)
                c->out_paused = false;
        for (struct source *s = c->sources, *next; s; s = next) {
                next = s->next;
                source_update(s);
        }
}

static void linger(struct client *c) {
        if (c->tls)
                tls_end(c->tls);
        if (c->peer_hung_up || shutdown(c->fd, SHUT_WR) < 0) {
                client_fail(c);
                return;
        }
        c->state = CLIENT_LINGER;
        c->due_ns = clock_monotonic_ns() + LINGER_SECONDS * SECOND_NS;
}

/* What was gathered is sent, and what that makes room for is gathered, until nothing moves. */
static void move(struct client *c) {
        for (bool again = true; again;) {
                size_t before;

                if (c->session && c->state == CLIENT_OPEN)
                        c->session->ops->settle(c->session);
                if (queue_overflow(&c->out))
                        client_fail(c);
                if (c->state != CLIENT_OPEN)
                        end_session(c);
                if (c->state == CLIENT_FAILED)
                        return;
                before = queue_len(&c->out);
                write_socket(c);
                if (c->state == CLIENT_OPEN && c->wire.peer_is_gone)
                        client_close(c);
                else if (c->state == CLIENT_OPEN)
                        update_sources(c);
                again = c->state != CLIENT_FAILED && queue_len(&c->out) && queue_len(&c->out) != before;
        }
}

static void watch(struct client *c) {
        uint32_t events = 0;

        if (wants_input(c) && !(c->state == CLIENT_CLOSING && c->peer_hung_up))
                events |= EPOLLIN;
        if (!c->peer_hung_up)
                events |= EPOLLRDHUP;
        if (queue_len(&c->out) || (c->tls && tls_wants_out(c->tls)))
                events |= EPOLLOUT;
        if (events == c->events)
                return;
        c->events = events;
        if (sd_event_source_set_io_events(c->io, events) < 0)
                client_fail(c);
}

bool client_settle(struct client *c) {
        struct streaming *s = c->server;

        move(c);
        if (c->state != CLIENT_OPEN)
                end_session(c);
        if (c->in_paused && c->in_waiting <= CLIENT_IN_LOW)
                c->in_paused = false;
        if (c->state == CLIENT_CLOSING && !queue_len(&c->out))
                linger(c);
        if (c->state != CLIENT_FAILED)
                watch(c);
        if (c->state == CLIENT_FAILED) {
                (void) client_free(c);
                return false;
        }
        server_arm(s, client_wake_ns(c));
        return true;
}

/* ---- time ---- */

static bool waits_for_hangup(const struct client *c) {
        return c->state == CLIENT_OPEN && c->peer_hung_up;
}

uint64_t client_wake_ns(const struct client *c) {
        uint64_t wake_ns = c->used_ns + c->server->idle_ns;

        switch (c->state) {
        case CLIENT_HEAD:
        case CLIENT_LINGER:
                return c->due_ns;
        case CLIENT_OPEN:
                if (c->session)
                        wake_ns = MIN_OF(wake_ns, c->session->wake_ns);
                if (waits_for_hangup(c))
                        wake_ns = MIN_OF(wake_ns, c->due_ns);
                if (c->in_paused)
                        wake_ns = MIN_OF(wake_ns, c->pinged_ns + KEEPALIVE_SECONDS * SECOND_NS);
                break;
        case CLIENT_CLOSING:
        case CLIENT_FAILED:
                break;
        }
        return wake_ns;
}

static void tick_open(struct client *c, uint64_t now_ns) {
        if (waits_for_hangup(c) && c->due_ns <= now_ns) {
                client_fail(c);
                return;
        }
        if (c->session->wake_ns <= now_ns)
                c->session->ops->tick(c->session, now_ns);
        if (c->in_paused && c->pinged_ns + KEEPALIVE_SECONDS * SECOND_NS <= now_ns) {
                c->pinged_ns = now_ns;
                wire_keepalive(&c->wire);
        }
}

void client_tick(struct client *c, uint64_t now_ns) {
        if (client_wake_ns(c) > now_ns) {
                server_arm(c->server, client_wake_ns(c));
                return;
        }
        if (c->used_ns + c->server->idle_ns <= now_ns)
                log_debug("streaming: connection was idle for too long", NULL);
        if (c->state == CLIENT_HEAD && c->tls && !tls_is_ready(c->tls))
                client_fail(c); /* nothing can be said yet */
        else if (c->state == CLIENT_HEAD)
                client_refuse(c, 408, "the request did not come in time");
        else if (c->state == CLIENT_OPEN && c->used_ns + c->server->idle_ns > now_ns)
                tick_open(c, now_ns);
        else if (c->state == CLIENT_OPEN)
                client_close(c);
        else
                client_fail(c);
        (void) client_settle(c);
}
