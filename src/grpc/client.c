/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/client.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/sock.h"
#include "base/str.h"
#include "grpc/frame.h"
#include "grpc/status.h"
#include "proto/message.h"

enum {
        MAX_MESSAGE_BYTES = 16 << 20,
        MAX_DECODED_BYTES = 8 * MAX_MESSAGE_BYTES,
        READ_BYTES = 32 * 1024,
        GATHER_BYTES = 32 * 1024,
        STREAM_WINDOW_BYTES = 4 << 20,
        CONNECTION_WINDOW_BYTES = 16 << 20,
        /* Past its own deadline by this much we stop waiting for the server's word on it. */
        DEADLINE_GRACE_MS = 100,
};

/* One RPC; on the stack of the function that makes it. */
struct rpc {
        struct grpc_client *client;
        int32_t stream_id;
        const uint8_t *request; /* prefix and message */
        size_t request_len, request_sent;
        const ProtobufCMessageDescriptor *response;
        struct frame_parser frame;
        /* Called for each message; 0 goes on, anything else cancels: -code with @err, or the caller's own number. */
        int (*on_message)(struct rpc *rpc, const struct strbuf *body, struct err *err);
        void *userdata;
        int stopped; /* what on_message returned */

        unsigned http_status;
        bool has_status, closed;
        uint32_t h2_error;
        struct err err; /* ours (stopped), or the server's (has_status) */
};

struct grpc_client {
        char *path;
        int fd;
        nghttp2_session *session;
        struct strbuf unsent;
        bool is_going_away; /* the server takes no more streams on this connection */
};

static void disconnect(struct grpc_client *c) {
        nghttp2_session_del(c->session);
        c->session = NULL;
        c->fd = fd_close(c->fd);
        strbuf_done(&c->unsent);
        c->is_going_away = false;
}

static int stop(struct rpc *rpc, int r) {
        rpc->stopped = r;
        return nghttp2_submit_rst_stream(rpc->client->session, NGHTTP2_FLAG_NONE, rpc->stream_id, NGHTTP2_CANCEL);
}

static struct rpc *rpc_of(nghttp2_session *session, int32_t stream_id) {
        return nghttp2_session_get_stream_user_data(session, stream_id);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *userdata) {
        struct rpc *rpc = rpc_of(session, frame->hd.stream_id);
        const char *key = (const char *) name;
        uint64_t n;

        if (!rpc)
                return 0;
        /* nghttp2 terminates values with a NUL. */
        if (str_eq(key, ":status") && str_to_u64((const char *) value, &n) && n < 1000) {
                rpc->http_status = (unsigned) n;
        } else if (str_eq(key, "grpc-status")) {
                rpc->has_status = true;
                rpc->err.code = str_to_u64((const char *) value, &n) && n <= ERR_UNAUTHENTICATED ? (enum err_code) n
                                                                                                 : ERR_UNKNOWN;
        } else if (str_eq(key, "grpc-message")) {
                status_decode_message((const char *) value, value_len, rpc->err.msg, sizeof(rpc->err.msg));
        }
        return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t len,
                   void *userdata) {
        struct rpc *rpc = rpc_of(session, stream_id);
        size_t used;
        int r;

        while (rpc && !rpc->stopped && len) {
                r = frame_feed(&rpc->frame, data, len, &used, &rpc->err);
                data += used;
                len -= used;
                if (r == 0 && rpc->frame.compressed)
                        r = err_set(&rpc->err, ERR_INTERNAL,
                                    "the server sent a compressed message, which we never ask for");
                if (r == 0 && rpc->frame.complete) {
                        r = rpc->on_message(rpc, &rpc->frame.body, &rpc->err);
                        frame_parser_next(&rpc->frame);
                }
                if (r != 0)
                        return stop(rpc, r);
        }
        return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *userdata) {
        struct rpc *rpc = rpc_of(session, stream_id);

        if (rpc) {
                rpc->closed = true;
                rpc->h2_error = error_code;
        }
        return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *userdata) {
        struct grpc_client *c = userdata;

        if (frame->hd.type == NGHTTP2_GOAWAY)
                c->is_going_away = true;
        return 0;
}

static ssize_t read_request(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length, uint32_t *flags,
                            nghttp2_data_source *source, void *userdata) {
        struct rpc *rpc = source->ptr;
        size_t n = MIN_OF(length, rpc->request_len - rpc->request_sent);

        memcpy(buf, rpc->request + rpc->request_sent, n);
        rpc->request_sent += n;
        if (rpc->request_sent == rpc->request_len)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t) n;
}

static int new_session(struct grpc_client *c) {
        nghttp2_settings_entry settings[] = {
                { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
                { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES },
        };
        nghttp2_session_callbacks *cb;
        int r;

        if (nghttp2_session_callbacks_new(&cb) != 0)
                abort();
        nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
        nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
        r = nghttp2_session_client_new(&c->session, cb, c);
        nghttp2_session_callbacks_del(cb);
        if (r == 0)
                r = nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, ELEMENTSOF(settings));
        if (r == 0)
                r = nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW_BYTES);
        return r;
}

static int make_connection(struct grpc_client *c, struct err *err) {
        int r;

        r = sock_connect_unix(c->path, SOCK_STREAM, &c->fd, err);
        if (r < 0)
                return r;
        if (new_session(c) == 0)
                return 0;
        disconnect(c);
        return err_set(err, ERR_EXHAUSTED, "no memory for a connection to %s", c->path);
}

int grpc_client_new(const char *socket_path, struct grpc_client **ret, struct err *err) {
        _cleanup_(grpc_client_freep) struct grpc_client *c = xnew(struct grpc_client);
        int r;

        c->fd = -1;
        c->unsent = STRBUF(2 * GATHER_BYTES);
        c->path = xstrdup(socket_path);
        r = make_connection(c, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

struct grpc_client *grpc_client_free(struct grpc_client *c) {
        if (!c)
                return NULL;
        disconnect(c);
        free(c->path);
        free(c);
        return NULL;
}

static int lost(struct grpc_client *c, int sys_errno, struct err *err) {
        if (sys_errno)
                (void) err_sys(err, sys_errno, "connection to %s lost", c->path);
        else
                (void) err_set(err, ERR_UNAVAILABLE, "the server closed the connection to %s", c->path);
        err->code = ERR_UNAVAILABLE;
        return -ERR_UNAVAILABLE;
}

/* Write what the session has, as far as the socket takes it: "unsent" is empty when it took all. */
static int write_some(struct grpc_client *c, struct err *err) {
        const uint8_t *data;
        ssize_t n;

        for (;;) {
                while (c->unsent.len < GATHER_BYTES && (n = nghttp2_session_mem_send(c->session, &data)) != 0) {
                        if (n < 0)
                                return err_set(err, ERR_INTERNAL, "HTTP/2: %s", nghttp2_strerror((int) n));
                        strbuf_append(&c->unsent, data, (size_t) n);
                }
                if (!c->unsent.len)
                        return 0;
                n = send(c->fd, c->unsent.data, c->unsent.len, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return 0;
                if (n < 0)
                        return lost(c, errno, err);
                strbuf_consume(&c->unsent, (size_t) n);
        }
}

static int read_some(struct grpc_client *c, struct err *err) {
        uint8_t buf[READ_BYTES];
        ssize_t n, r;

        n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0)
                return lost(c, n < 0 ? errno : 0, err);
        r = nghttp2_session_mem_recv(c->session, buf, (size_t) n);
        if (r < 0)
                return err_set(err, ERR_INTERNAL, "HTTP/2: %s", nghttp2_strerror((int) r));
        return 0;
}

/* Milliseconds until @deadline_ns for poll(2), rounded up; -1: none. */
static int poll_timeout(uint64_t deadline_ns) {
        uint64_t now_ns = clock_monotonic_ns(), ms;

        if (deadline_ns == UINT64_MAX)
                return -1;
        ms = deadline_ns <= now_ns ? 0 : (deadline_ns - now_ns + 999999) / 1000000;
        return (int) MIN_OF(ms, (uint64_t) INT32_MAX);
}

/* Reset the stream and let the server know, without waiting for anything. */
static void give_up(struct rpc *rpc) {
        struct grpc_client *c = rpc->client;
        struct err ignored;

        (void) nghttp2_session_set_stream_user_data(c->session, rpc->stream_id, NULL);
        (void) stop(rpc, -ERR_CANCELLED);
        if (write_some(c, &ignored) < 0 || c->unsent.len)
                disconnect(c);
}

/* Run the session until the stream is closed. On failure the connection is of no more use, save after a deadline or an
 * interruption. */
static int run_session(struct rpc *rpc, uint64_t deadline_ns, struct err *err) {
        struct grpc_client *c = rpc->client;
        int r, n;

        for (;;) {
                struct pollfd p = { .fd = c->fd, .events = POLLIN };

                r = write_some(c, err);
                if (r < 0)
                        return r;
                if (rpc->closed && !c->unsent.len)
                        return 0;
                if (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))
                        return lost(c, 0, err);
                if (c->unsent.len)
                        p.events |= POLLOUT;
                n = poll(&p, 1, poll_timeout(deadline_ns));
                if (n < 0 && errno != EINTR)
                        return err_sys(err, errno, "poll");
                if (n <= 0) {
                        give_up(rpc);
                        if (n < 0)
                                return err_set(err, ERR_CANCELLED, "interrupted");
                        return err_set(err, ERR_DEADLINE, "no answer in time");
                }
                if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
                        r = read_some(c, err);
                        if (r < 0)
                                return rpc->closed ? 0 : r;
                }
        }
}

#define NV(n, v)                                                                                                       \
        { (uint8_t *) (uintptr_t) (n), (uint8_t *) (uintptr_t) (v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE }

static int submit(struct rpc *rpc, const char *path, uint64_t timeout_ms, struct err *err) {
        nghttp2_data_provider provider = { .source.ptr = rpc, .read_callback = read_request };
        char timeout[GRPC_TIMEOUT_MAX];
        nghttp2_nv nv[] = {
                NV(":method", "POST"),
                NV(":scheme", "http"),
                NV(":path", path),
                NV(":authority", "localhost"),
                NV("te", "trailers"),
                NV("content-type", "application/grpc"),
                NV("user-agent", "proxmox-lxcri"),
                NV("grpc-timeout", ""),
        };
        size_t n = ELEMENTSOF(nv) - 1;

        if (timeout_ms) {
                uint64_t ns;

                if (__builtin_mul_overflow(timeout_ms, UINT64_C(1000000), &ns))
                        ns = UINT64_MAX;
                status_format_timeout(ns, timeout);
                nv[n++] = (nghttp2_nv) NV("grpc-timeout", timeout);
        }
        rpc->stream_id = nghttp2_submit_request(rpc->client->session, NULL, nv, n, &provider, rpc);
        if (rpc->stream_id < 0)
                return err_set(err, ERR_INTERNAL, "HTTP/2: %s", nghttp2_strerror(rpc->stream_id));
        return 0;
}

/* What the server said, or what its silence means. */
static int verdict(const struct rpc *rpc, struct err *err) {
        if (rpc->has_status) {
                if (rpc->err.code == ERR_OK)
                        return 0;
                return err_set(err, rpc->err.code, "%s", *rpc->err.msg ? rpc->err.msg : err_code_name(rpc->err.code));
        }
        if (rpc->http_status && rpc->http_status != 200)
                return err_set(err, status_from_http(rpc->http_status), "the server answered HTTP status %u",
                               rpc->http_status);
        if (rpc->h2_error)
                return err_set(err, status_from_h2_error(rpc->h2_error), "the server reset the call: %s",
                               nghttp2_http2_strerror(rpc->h2_error));
        return err_set(err, ERR_INTERNAL, "the server ended the call without a status");
}

static uint64_t deadline_of(uint64_t timeout_ms) {
        uint64_t ms, ns;

        if (!timeout_ms || __builtin_add_overflow(timeout_ms, (uint64_t) DEADLINE_GRACE_MS, &ms) ||
            __builtin_mul_overflow(ms, UINT64_C(1000000), &ns) || __builtin_add_overflow(ns, clock_monotonic_ns(), &ns))
                return UINT64_MAX;
        return ns;
}

static int pack_request(const ProtobufCMessage *request, uint8_t **ret, size_t *ret_len, struct err *err) {
        size_t n = protobuf_c_message_get_packed_size(request);

        if (n > MAX_MESSAGE_BYTES)
                return err_set(err, ERR_EXHAUSTED, "the request of %zu bytes is larger than %d", n, MAX_MESSAGE_BYTES);
        *ret = xcalloc(1, FRAME_HEAD_BYTES + n);
        *ret_len = FRAME_HEAD_BYTES + n;
        frame_head(*ret, (uint32_t) n);
        (void) protobuf_c_message_pack(request, *ret + FRAME_HEAD_BYTES);
        return 0;
}

/* A connection left over from the last call may have been closed since; nothing of this call is lost by a new one. */
static int ensure_connection(struct grpc_client *c, struct err *err) {
        struct pollfd p = { .fd = c->fd, .events = POLLIN };

        while (c->session && poll(&p, 1, 0) > 0) {
                struct err ignored;

                if (read_some(c, &ignored) < 0)
                        disconnect(c);
        }
        if (c->session && (c->is_going_away || !nghttp2_session_want_read(c->session)))
                disconnect(c);
        return c->session ? 0 : make_connection(c, err);
}

static int call(struct rpc *rpc, const char *path, const ProtobufCMessage *request, uint64_t timeout_ms,
                struct err *err) {
        _cleanup_(freep) uint8_t *packed = NULL;
        uint64_t deadline_ns = deadline_of(timeout_ms);
        int r;

        r = ensure_connection(rpc->client, err);
        if (r < 0)
                return r;
        r = pack_request(request, &packed, &rpc->request_len, err);
        if (r < 0)
                return r;
        rpc->request = packed;
        frame_parser_init(&rpc->frame, MAX_MESSAGE_BYTES);
        r = submit(rpc, path, timeout_ms, err);
        if (r == 0)
                r = run_session(rpc, deadline_ns, err);
        frame_parser_done(&rpc->frame);
        if (r < 0) {
                if (r != -ERR_DEADLINE && r != -ERR_CANCELLED)
                        disconnect(rpc->client);
                return r;
        }
        if (rpc->stopped < 0)
                *err = rpc->err;
        return rpc->stopped ? rpc->stopped : verdict(rpc, err);
}

struct unary {
        struct arena *arena;
        ProtobufCMessage *message;
};

static int on_unary(struct rpc *rpc, const struct strbuf *body, struct err *err) {
        struct unary *u = rpc->userdata;

        if (u->message)
                return err_set(err, ERR_INTERNAL, "the server sent more than one response");
        return proto_unpack(rpc->response, body->data, body->len, u->arena, MAX_DECODED_BYTES, &u->message, err);
}

int grpc_client_call(struct grpc_client *c, const char *path, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *response, uint64_t timeout_ms, struct arena *arena,
                     ProtobufCMessage **ret, struct err *err) {
        struct unary u = { .arena = arena };
        struct rpc rpc = { .client = c, .response = response, .on_message = on_unary, .userdata = &u };
        int r;

        r = call(&rpc, path, request, timeout_ms, err);
        if (r < 0)
                return r;
        if (!u.message)
                return err_set(err, ERR_INTERNAL, "the server sent no response");
        *ret = u.message;
        return 0;
}

struct stream {
        int (*each)(const ProtobufCMessage *message, void *userdata);
        void *userdata;
};

/* What the caller's function returned goes past "stopped", whose negative values are errors of ours. */
enum { STOPPED_BY_CALLER = 1 };

static int on_streamed(struct rpc *rpc, const struct strbuf *body, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(MAX_DECODED_BYTES);
        struct stream *s = rpc->userdata;
        ProtobufCMessage *message;
        int r;

        r = proto_unpack(rpc->response, body->data, body->len, arena, MAX_DECODED_BYTES, &message, err);
        if (r < 0)
                return r;
        return s->each(message, s->userdata) == 0 ? 0 : STOPPED_BY_CALLER;
}

int grpc_client_stream(struct grpc_client *c, const char *path, const ProtobufCMessage *request,
                       const ProtobufCMessageDescriptor *response, uint64_t timeout_ms,
                       int (*each)(const ProtobufCMessage *message, void *userdata), void *userdata, struct err *err) {
        struct stream s = { .each = each, .userdata = userdata };
        struct rpc rpc = { .client = c, .response = response, .on_message = on_streamed, .userdata = &s };
        int r;

        r = call(&rpc, path, request, timeout_ms, err);
        return r == STOPPED_BY_CALLER ? 0 : r;
}
