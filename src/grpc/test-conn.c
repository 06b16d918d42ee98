/* SPDX-License-Identifier: Apache-2.0 */
/* A connection without a socket: hostile and slow clients, limits, a clock that the test sets. */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "grpc/conn.h"
#include "grpc/test-service.h"

#define SECOND UINT64_C(1000000000)

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* What the server's bytes say. */
struct answer {
        size_t headers, data_bytes, resets, goaways, pings, acks;
        uint32_t last_reset, goaway_code;
        int32_t goaway_last;
        char status[16], http[16], message[512], accept[64];
};

struct rig {
        struct hub *hub;
        struct conn *conn;
        uint64_t now;
        struct strbuf in; /* for the server */
        nghttp2_hd_inflater *inflater;
        struct answer got;
        bool alive;
};

static void rig_init_with(struct rig *r, struct grpc_server_args args) {
        struct err err;

        *r = (struct rig){ .now = 1000 * SECOND, .in = STRBUF(64 << 20), .alive = true };
        args.methods = test_service;
        args.n_methods = test_service_len;
        assert(hub_new(&args, &r->hub, &err) == 0 && conn_new(r->hub, r->now, &r->conn, &err) == 0);
        assert(nghttp2_hd_inflate_new(&r->inflater) == 0);
        strbuf_append(&r->in, preface, sizeof(preface) - 1);
        strbuf_append(&r->in, "\0\0\0\4\0\0\0\0\0", 9);
}

static void rig_init(struct rig *r) {
        rig_init_with(r, (struct grpc_server_args){ 0 });
}

static void rig_done(struct rig *r) {
        r->conn = conn_free(r->conn);
        hub_close(r->hub);
        assert(atomic_load(&r->hub->refs) == 1);
        r->hub = hub_unref(r->hub);
        nghttp2_hd_inflate_del(r->inflater);
        strbuf_done(&r->in);
}

static void frame(struct rig *r, uint8_t type, uint8_t flags, uint32_t stream, const void *body, size_t len) {
        uint8_t head[9] = { (uint8_t) (len >> 16),
                            (uint8_t) (len >> 8),
                            (uint8_t) len,
                            type,
                            flags,
                            (uint8_t) (stream >> 24),
                            (uint8_t) (stream >> 16),
                            (uint8_t) (stream >> 8),
                            (uint8_t) stream };

        strbuf_append(&r->in, head, sizeof(head));
        strbuf_append(&r->in, body, len);
}

/* A literal header that doesn't enter the table. */
static void literal(struct strbuf *b, const char *name, const char *value) {
        assert(strlen(name) < 127 && strlen(value) < 127);
        strbuf_putc(b, 0);
        strbuf_putc(b, (char) strlen(name));
        strbuf_puts(b, name);
        strbuf_putc(b, (char) strlen(value));
        strbuf_puts(b, value);
}

/* @more: name, value pairs, NULL last; a name of the standard ones replaces it. */
static void request_headers(struct rig *r, uint32_t stream, uint8_t flags, const char *path, const char *const *more) {
        const char *standard[][2] = {
                { ":method", "POST" },
                { ":scheme", "http" },
                { ":path", path },
                { ":authority", "/run/x.sock" },
                { "content-type", "application/grpc" },
        };
        _cleanup_strbuf_ struct strbuf b = STRBUF(1 << 20);

        for (size_t i = 0; i < ELEMENTSOF(standard); i++) {
                const char *value = standard[i][1];
                for (size_t k = 0; more && more[k]; k += 2)
                        if (str_eq(more[k], standard[i][0]))
                                value = more[k + 1];
                if (*value)
                        literal(&b, standard[i][0], value);
        }
        for (size_t k = 0; more && more[k]; k += 2)
                if (str_after(more[k], "grpc-") || str_after(more[k], "x-"))
                        literal(&b, more[k], more[k + 1]);
        frame(r, NGHTTP2_HEADERS, flags, stream, b.data, b.len);
}

enum { END_STREAM = NGHTTP2_FLAG_END_STREAM, END_HEADERS = NGHTTP2_FLAG_END_HEADERS };
#define VERSION "/runtime.v1.RuntimeService/Version"
static const char hello[] = "\0\0\0\0\4\x0a\2v1";

static void keep_header(struct answer *a, const nghttp2_nv *nv) {
        static const struct {
                const char *name;
                size_t offset, size;
        } fields[] = {
                { ":status", offsetof(struct answer, http), 16 },
                { "grpc-status", offsetof(struct answer, status), 16 },
                { "grpc-message", offsetof(struct answer, message), 512 },
                { "grpc-accept-encoding", offsetof(struct answer, accept), 64 },
        };

        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                if (str_eq((const char *) nv->name, fields[i].name))
                        (void) snprintf((char *) a + fields[i].offset, fields[i].size, "%s", (const char *) nv->value);
}

static void read_headers(struct rig *r, const uint8_t *p, size_t len) {
        nghttp2_nv nv;
        int flags = 0;

        while (len || !(flags & NGHTTP2_HD_INFLATE_FINAL)) {
                ssize_t n = nghttp2_hd_inflate_hd2(r->inflater, &nv, &flags, p, len, 1);
                assert(n >= 0);
                p += n;
                len -= (size_t) n;
                if (flags & NGHTTP2_HD_INFLATE_EMIT)
                        keep_header(&r->got, &nv);
        }
        (void) nghttp2_hd_inflate_end_headers(r->inflater);
}

static uint32_t be32(const uint8_t *p) {
        return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static void read_frame(struct rig *r, const uint8_t *head, const uint8_t *body, size_t len) {
        switch (head[3]) {
        case NGHTTP2_HEADERS:
                r->got.headers++;
                read_headers(r, body, len);
                break;
        case NGHTTP2_DATA:
                r->got.data_bytes += len;
                break;
        case NGHTTP2_RST_STREAM:
                r->got.resets++;
                r->got.last_reset = be32(body);
                break;
        case NGHTTP2_PING:
                r->got.pings++;
                break;
        case NGHTTP2_SETTINGS:
                r->got.acks += head[4] & NGHTTP2_FLAG_ACK;
                break;
        case NGHTTP2_GOAWAY:
                r->got.goaways++;
                r->got.goaway_last = (int32_t) be32(body);
                r->got.goaway_code = be32(body + 4);
                break;
        default:
                break;
        }
}

static void pull(struct rig *r) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(64 << 20);
        const uint8_t *p;
        ssize_t n;

        while ((n = conn_pull(r->conn, r->now, &p)) > 0)
                strbuf_append(&out, p, (size_t) n);
        assert(n == 0);
        for (size_t at = 0; at < out.len;) {
                const uint8_t *head = (const uint8_t *) out.data + at;
                size_t len = (size_t) head[0] << 16 | (size_t) head[1] << 8 | head[2];
                read_frame(r, head, head + 9, len);
                at += 9 + len;
        }
}

/* Give the server what was collected, @step bytes at a time, and read its answer. */
static void talk_in_steps(struct rig *r, size_t step) {
        struct hub_item item;

        for (size_t at = 0; at < r->in.len && r->alive; at += step) {
                size_t n = MIN_OF(step, r->in.len - at);
                uint8_t *exact = xcalloc(1, n);
                memcpy(exact, r->in.data + at, n);
                r->alive = conn_feed(r->conn, exact, n, r->now);
                free(exact);
        }
        strbuf_done(&r->in);
        while (hub_take(r->hub, &item))
                conn_deliver(&item, r->now);
        pull(r);
        r->alive = r->alive && !conn_is_over(r->conn);
}

static void talk(struct rig *r) {
        talk_in_steps(r, SIZE_MAX);
}

static void full_request(struct rig *r, uint32_t stream) {
        request_headers(r, stream, END_HEADERS, VERSION, NULL);
        frame(r, NGHTTP2_DATA, END_STREAM, stream, hello, sizeof(hello) - 1);
}

static void test_any_step(void) {
        for (size_t step = 1; step < 300; step += step < 20 ? 1 : 37) {
                struct rig r;

                rig_init(&r);
                full_request(&r, 1);
                full_request(&r, 3);
                talk_in_steps(&r, step);
                assert(r.alive && str_eq(r.got.http, "200") && str_eq(r.got.status, "0") && r.got.headers == 4);
                assert(r.got.data_bytes == 2 * (5 + 14) && r.conn->n_calls == 0 && r.conn->held_bytes == 0);
                rig_done(&r);
        }
}

/* Every prefix of a conversation, then the end; and every byte of it changed. */
static void test_damage(void) {
        struct rig r;
        size_t len;

        rig_init(&r);
        full_request(&r, 1);
        len = r.in.len;
        rig_done(&r);
        for (size_t cut = 0; cut < len; cut++) {
                rig_init(&r);
                full_request(&r, 1);
                r.in.len = cut;
                talk(&r);
                assert(r.got.data_bytes == 0);
                rig_done(&r);
        }
        for (size_t at = 0; at < len; at++)
                for (unsigned v = 0; v < 256; v += 5) {
                        rig_init(&r);
                        full_request(&r, 1);
                        r.in.data[at] = (char) v;
                        talk(&r);
                        rig_done(&r);
                }
}

static const struct refusal {
        const char *path, *headers[5];
        const char *body;
        size_t body_len;
        const char *http, *status, *message;
} refusals[] = {
        { "/runtime.v1.RuntimeService/Nope",
          { NULL },
          hello,
          9,
          "200",
          "12",
          "unknown method Nope for service runtime.v1.RuntimeService" },
        { "/a%.B/C", { NULL }, hello, 9, "200", "12", "unknown service a%25.B (method C)" },
        { "Version", { NULL }, hello, 9, "200", "12", "malformed method name: \"Version\"" },
        { "", { NULL }, hello, 9, "200", "12", "malformed method name: \"\"" },
        { "//", { NULL }, hello, 9, "200", "12", "malformed method name: \"//\"" },
        { VERSION, { "content-type", "text/html" }, hello, 9, "415", "3", NULL },
        { VERSION, { "content-type", "application/grpc+json" }, hello, 9, "415", "3", NULL },
        { VERSION, { "content-type", "" }, hello, 9, "415", "3", NULL },
        { VERSION, { ":method", "GET" }, hello, 9, "405", "13", NULL },
        { VERSION, { "grpc-timeout", "5s" }, hello, 9, "400", "13", "malformed grpc-timeout" },
        { VERSION, { "grpc-timeout", "0n" }, hello, 9, "200", "4", "context deadline exceeded" },
        { VERSION, { "grpc-encoding", "snappy" }, hello, 9, "200", "12", NULL },
        { VERSION, { NULL }, "\1\0\0\0\0", 5, "200", "13", NULL },
        { VERSION, { NULL }, "\2\0\0\0\0", 5, "200", "13", NULL },
        { VERSION, { "grpc-encoding", "gzip" }, "\1\0\0\0\3abc", 8, "200", "13", NULL },
        { VERSION, { NULL }, "\0\1\0\0\1", 5, "200", "8", NULL },
        { VERSION, { NULL }, "\0\0\0\0\2\x0a\5", 7, "200", "13", NULL },
        { VERSION, { NULL }, "\0\0\0\0\3\x0a\1\xff", 8, "200", "13", NULL },
        { VERSION, { NULL }, "\0\0\0\0\4\x0a", 6, "200", "13", "grpc: the request ends before its message" },
        { VERSION, { NULL }, "", 0, "200", "13", "grpc: the request ends before its message" },
        { VERSION, { NULL }, "\0\0\0\0\0\0\0\0\0\0", 10, "200", "13", "grpc: more than one message in a request" },
};

static void test_refusals(void) {
        for (size_t i = 0; i < ELEMENTSOF(refusals); i++) {
                const struct refusal *t = &refusals[i];
                struct rig r;

                rig_init_with(&r, (struct grpc_server_args){ .max_message_bytes = 65536 });
                request_headers(&r, 1, END_HEADERS, t->path, t->headers);
                frame(&r, NGHTTP2_DATA, END_STREAM, 1, t->body, t->body_len);
                full_request(&r, 3);
                talk(&r);
                assert(r.alive && r.got.headers == 3); /* the second one is served */
                rig_done(&r);

                rig_init_with(&r, (struct grpc_server_args){ .max_message_bytes = 65536 });
                request_headers(&r, 1, END_HEADERS, t->path, t->headers);
                frame(&r, NGHTTP2_DATA, END_STREAM, 1, t->body, t->body_len);
                talk(&r);
                assert(str_eq(r.got.http, t->http) && str_eq(r.got.status, t->status));
                assert(!t->message || str_eq(r.got.message, t->message));
                assert(!str_eq(t->status, "12") || str_eq(r.got.accept, "identity,gzip"));
                rig_done(&r);
        }
}

static void test_header_limit(void) {
        char value[101];
        const char *more[1 + 2 * 200] = { NULL };
        struct rig r;

        memset(value, 'v', 100);
        value[100] = '\0';
        for (size_t i = 0; i < 130; i++) {
                more[2 * i] = "x-big";
                more[2 * i + 1] = value;
        }
        rig_init(&r);
        request_headers(&r, 1, END_HEADERS, VERSION, more);
        talk(&r);
        assert(r.alive && str_eq(r.got.http, "431") && str_eq(r.got.status, "8"));
        /* Not done sending: asked to stop. */
        assert(r.got.resets == 1 && r.got.last_reset == NGHTTP2_NO_ERROR && r.conn->n_calls == 0);
        rig_done(&r);
}

/* A small block that unpacks to megabytes: one long header in the table, named by one byte each time. */
static void test_header_bomb(void) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(1 << 20);
        struct rig r;

        rig_init(&r);
        literal(&b, ":path", VERSION);
        strbuf_append(&b, "\x40\5x-big\x7f\x81\x1e", 10); /* 127 + 1 + 30 * 128 bytes */
        for (size_t i = 0; i < 3968; i++)
                strbuf_putc(&b, 'v');
        for (size_t i = 0; i < 10000; i++)
                strbuf_putc(&b, (char) 0xbe);
        frame(&r, NGHTTP2_HEADERS, END_HEADERS, 1, b.data, b.len);
        talk(&r);
        assert(!r.alive);
        rig_done(&r);
}

static void test_continuation_flood(void) {
        struct rig r;

        rig_init(&r);
        request_headers(&r, 1, 0, VERSION, NULL);
        for (size_t i = 0; i < 10000; i++)
                frame(&r, NGHTTP2_CONTINUATION, 0, 1, "", 0);
        talk(&r);
        assert(!r.alive);
        rig_done(&r);
}

static void test_rapid_reset(void) {
        struct rig r;

        rig_init(&r);
        for (uint32_t i = 0; i < 5000; i++) {
                request_headers(&r, 2 * i + 1, END_HEADERS, VERSION, NULL);
                frame(&r, NGHTTP2_RST_STREAM, 0, 2 * i + 1, "\0\0\0\x08", 4);
        }
        talk(&r);
        assert(!r.alive && r.got.goaways == 1);
        rig_done(&r);
}

static void test_settings_flood(void) {
        struct rig r;

        rig_init(&r);
        for (size_t i = 0; i < 5000; i++)
                frame(&r, NGHTTP2_SETTINGS, 0, 0, "\0\1\0\0\0\0", 6);
        talk(&r);
        assert(!r.alive);
        rig_done(&r);
        rig_init(&r);
        frame(&r, NGHTTP2_PING, 0, 0, "12345678", 8);
        talk(&r);
        assert(r.alive && r.got.pings == 1 && r.got.acks == 1);
        rig_done(&r);
}

static void test_stream_limit(void) {
        struct rig r;

        rig_init_with(&r, (struct grpc_server_args){ .max_streams = 10 });
        for (uint32_t i = 0; i < 11; i++)
                request_headers(&r, 2 * i + 1, END_HEADERS, VERSION, NULL);
        talk(&r);
        assert(r.alive && r.got.resets == 1 && r.got.last_reset == NGHTTP2_REFUSED_STREAM && r.conn->n_calls == 10);
        rig_done(&r);
}

static void test_memory_limit(void) {
        static const uint8_t start[] = { 0, 0, 1, 0, 0 }; /* of a message of 64 KiB */
        uint8_t *body = xcalloc(1, 16000);
        struct rig r;

        memcpy(body, start, sizeof(start));
        rig_init_with(&r, (struct grpc_server_args){ .max_connection_bytes = 100000 });
        for (uint32_t i = 0; i < 7; i++) {
                request_headers(&r, 2 * i + 1, END_HEADERS, VERSION, NULL);
                frame(&r, NGHTTP2_DATA, 0, 2 * i + 1, body, 16000);
        }
        talk(&r);
        assert(r.alive && r.got.headers == 1 && str_eq(r.got.status, "8") && r.conn->held_bytes == 96000);
        assert(r.conn->n_calls == 6);
        rig_done(&r);
        free(body);
}

static void tick_at(struct rig *r, uint64_t seconds) {
        r->now = (1000 + seconds) * SECOND;
        r->alive = r->alive && conn_tick(r->conn, r->now);
        if (!r->alive)
                return;
        pull(r);
        r->alive = !conn_is_over(r->conn);
}

static void test_slow(void) {
        struct rig r;

        /* Says nothing. */
        rig_init(&r);
        assert(r.conn->wake_ns <= r.now + 10 * SECOND);
        tick_at(&r, 9);
        assert(r.alive);
        tick_at(&r, 10);
        assert(!r.alive);
        rig_done(&r);
        /* Says hello and is idle: stays. */
        rig_init(&r);
        talk(&r);
        tick_at(&r, 100000);
        assert(r.alive && r.conn->wake_ns == UINT64_MAX);
        /* Begins a request and does not end it. */
        r.now = 1000 * SECOND;
        request_headers(&r, 1, END_HEADERS, VERSION, NULL);
        frame(&r, NGHTTP2_DATA, 0, 1, hello, 3);
        talk(&r);
        assert(r.conn->wake_ns <= r.now + 30 * SECOND);
        tick_at(&r, 29);
        assert(r.conn->n_calls == 1);
        tick_at(&r, 30);
        assert(r.alive && str_eq(r.got.status, "4") && r.conn->n_calls == 0 && r.conn->held_bytes == 0);
        rig_done(&r);
        /* A deadline passes before the request is complete. */
        rig_init(&r);
        request_headers(&r, 1, END_HEADERS, VERSION, (const char *[]){ "grpc-timeout", "2S", NULL });
        talk(&r);
        assert(r.conn->wake_ns <= r.now + 2 * SECOND);
        tick_at(&r, 2);
        assert(r.alive && str_eq(r.got.status, "4") && str_eq(r.got.message, "context deadline exceeded"));
        rig_done(&r);
        /* Header block without an end. */
        rig_init(&r);
        request_headers(&r, 1, 0, VERSION, NULL);
        talk(&r);
        tick_at(&r, 30);
        assert(r.conn->n_calls == 0);
        rig_done(&r);
}

/* A client that does not take its answer: the window is closed. */
static void test_window(void) {
        struct rig r;

        rig_init(&r);
        frame(&r, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
        full_request(&r, 1);
        talk(&r);
        assert(r.alive && r.got.headers == 1 && r.got.data_bytes == 0 && r.conn->held_bytes == 19);
        frame(&r, NGHTTP2_WINDOW_UPDATE, 0, 1, "\0\0\0\4", 4);
        talk(&r);
        assert(r.got.data_bytes == 4 && r.conn->held_bytes == 15);
        tick_at(&r, 59);
        assert(r.conn->n_calls == 1);
        tick_at(&r, 61);
        assert(r.alive && r.got.resets == 1 && r.conn->n_calls == 0 && r.conn->held_bytes == 0);
        rig_done(&r);
}

static void test_go_away(void) {
        struct rig r;

        rig_init(&r);
        request_headers(&r, 1, END_HEADERS, VERSION, NULL);
        talk(&r);
        conn_go_away(r.conn);
        pull(&r);
        assert(r.got.goaways == 1 && r.got.goaway_last == 1 && r.got.goaway_code == NGHTTP2_NO_ERROR);
        assert(!conn_is_over(r.conn));
        /* A new stream is not served, the old one is. */
        full_request(&r, 3);
        frame(&r, NGHTTP2_DATA, END_STREAM, 1, hello, sizeof(hello) - 1);
        talk(&r);
        assert(r.got.headers == 2 && str_eq(r.got.status, "0") && !r.alive);
        rig_done(&r);
}

/* Streams run inside conn_feed() here, as there is no pool. */
static void test_stream(void) {
        static const char spec[] = "\0\0\0\0\x0c\x0a\x0a\x0a\x08\x0a\1"
                                   "7\x9a\1\2"
                                   "50";
        struct rig r;

        rig_init(&r);
        request_headers(&r, 1, END_HEADERS, "/runtime.v1.ImageService/StreamImages", NULL);
        frame(&r, NGHTTP2_DATA, END_STREAM, 1, spec, sizeof(spec) - 1);
        talk(&r);
        assert(r.alive && r.got.headers == 2 && str_eq(r.got.status, "0") && r.got.data_bytes > 7 * 55);
        assert(r.conn->n_calls == 0 && r.hub->running == 0);
        rig_done(&r);
}

/* The pool takes no more. */
static void test_busy(void) {
        struct pool *pool = pool_new("none", 1, 0);
        struct rig r;

        rig_init_with(&r, (struct grpc_server_args){ .pool = pool });
        request_headers(&r, 1, END_HEADERS, "/runtime.v1.RuntimeService/Status", NULL);
        frame(&r, NGHTTP2_DATA, END_STREAM, 1, "\0\0\0\0\0", 5);
        talk(&r);
        assert(r.alive && str_eq(r.got.status, "8") && r.conn->n_calls == 0 && r.hub->running == 0);
        rig_done(&r);
        (void) pool_free(pool);
}

int main(void) {
        test_any_step();
        test_damage();
        test_refusals();
        test_header_limit();
        test_header_bomb();
        test_continuation_flood();
        test_rapid_reset();
        test_settings_flood();
        test_stream_limit();
        test_memory_limit();
        test_slow();
        test_window();
        test_go_away();
        test_stream();
        test_busy();
        return 0;
}
