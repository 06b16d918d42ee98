/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations: what a client sends, whole, in two pieces cut at each byte, and byte by byte, against what is
 * understood ("events") and what is answered ("said"). */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <zlib.h>
#include "base/alloc.h"
#include "base/str.h"
#include "streaming/wire.h"

enum { MAX_BYTES = 1 << 20 };

/* ---- a client ---- */

struct client {
        struct strbuf bytes;
        z_stream z; /* of its header blocks */
        bool has_z;
};

static void put_u32(struct strbuf *b, uint32_t v) {
        uint8_t p[4] = { (uint8_t) (v >> 24), (uint8_t) (v >> 16), (uint8_t) (v >> 8), (uint8_t) v };
        strbuf_append(b, p, 4);
}

static void put_frame(struct client *c, uint32_t first, uint8_t flags, const void *payload, size_t len) {
        put_u32(&c->bytes, first);
        put_u32(&c->bytes, (uint32_t) flags << 24 | (uint32_t) len);
        strbuf_append(&c->bytes, payload, len);
}

static void put_string(struct strbuf *b, const char *s, size_t n) {
        put_u32(b, (uint32_t) n);
        strbuf_append(b, s, n);
}

static void deflate_block(struct client *c, const struct strbuf *plain, struct strbuf *out) {
        uint8_t dictionary[SPDY_DICTIONARY_LEN], piece[64 * 1024];

        if (!c->has_z) {
                c->has_z = true;
                spdy_dictionary(dictionary);
                assert(deflateInit(&c->z, 9) == Z_OK);
                assert(deflateSetDictionary(&c->z, dictionary, sizeof(dictionary)) == Z_OK);
        }
        c->z.next_in = (Bytef *) plain->data;
        c->z.avail_in = (uInt) plain->len;
        c->z.next_out = piece;
        c->z.avail_out = sizeof(piece);
        assert(deflate(&c->z, Z_SYNC_FLUSH) == Z_OK && c->z.avail_in == 0);
        strbuf_append(out, piece, sizeof(piece) - c->z.avail_out);
}

static void put_syn_of(struct client *c, uint32_t id, uint8_t flags, const struct strbuf *plain) {
        _cleanup_strbuf_ struct strbuf payload = STRBUF(MAX_BYTES);

        put_u32(&payload, id);
        put_u32(&payload, 0);
        strbuf_append(&payload, "\0\0", 2);
        deflate_block(c, plain, &payload);
        put_frame(c, 0x80030001, flags, payload.data, payload.len);
}

/* @headers: name, value, name, value, NULL. */
static void put_syn(struct client *c, uint32_t id, uint8_t flags, const char *const *headers) {
        _cleanup_strbuf_ struct strbuf plain = STRBUF(MAX_BYTES);
        uint32_t n = 0;

        while (headers[n])
                n++;
        put_u32(&plain, n / 2);
        for (uint32_t i = 0; i < n; i++)
                put_string(&plain, headers[i], strlen(headers[i]));
        put_syn_of(c, id, flags, &plain);
}

static void put_control(struct client *c, uint16_t type, const void *payload, size_t len) {
        put_frame(c, 0x80030000u | type, 0, payload, len);
}

static void put_data(struct client *c, uint32_t id, const char *text, bool fin) {
        put_frame(c, id, fin, text, strlen(text));
}

static void put_ws(struct client *c, uint8_t first, const void *payload, size_t len) {
        static const uint8_t mask[4] = { 0x12, 0x34, 0x56, 0x78 };
        const uint8_t *p = payload;

        strbuf_putc(&c->bytes, (char) first);
        if (len < 126) {
                strbuf_putc(&c->bytes, (char) (0x80 | len));
        } else {
                strbuf_putc(&c->bytes, (char) (0x80 | 126));
                strbuf_putc(&c->bytes, (char) (len >> 8));
                strbuf_putc(&c->bytes, (char) len);
        }
        strbuf_append(&c->bytes, mask, 4);
        for (size_t i = 0; i < len; i++)
                strbuf_putc(&c->bytes, (char) (p[i] ^ mask[i & 3]));
}

static void client_done(struct client *c) {
        strbuf_done(&c->bytes);
        if (c->has_z)
                (void) deflateEnd(&c->z);
}

/* ---- the server ---- */

struct server {
        struct wire wire;
        struct queue out;
        struct strbuf events;
        uint32_t last_channel; /* pieces of data are joined */
};

static void on_opened(void *userdata, uint32_t channel, const struct spdy_headers *headers) {
        struct server *s = userdata;
        char type[32], port[8];

        s->last_channel = UINT32_MAX;
        if (!spdy_headers_get(headers, "streamtype", type, sizeof(type)))
                *type = '\0';
        if (!spdy_headers_get(headers, "port", port, sizeof(port)))
                *port = '\0';
        strbuf_printf(&s->events, " open(%u,%s,%s)", channel, type, port);
        if (str_eq(type, "no"))
                wire_reset(&s->wire, channel, SPDY_REFUSED_STREAM);
        else
                wire_accept(&s->wire, channel);
}

static void on_data(void *userdata, uint32_t channel, const uint8_t *data, size_t len) {
        struct server *s = userdata;

        if (channel != s->last_channel)
                strbuf_printf(&s->events, " %u:", channel);
        s->last_channel = channel;
        strbuf_append(&s->events, data, len);
}

static void on_ended(void *userdata, uint32_t channel, bool reset) {
        struct server *s = userdata;

        s->last_channel = UINT32_MAX;
        strbuf_printf(&s->events, " %s(%u)", reset ? "reset" : "end", channel);
}

static const struct wire_handler handler = { .opened = on_opened, .data = on_data, .ended = on_ended };

static void server_init(struct server *s, enum wire_kind kind, bool v5) {
        s->out = QUEUE(MAX_BYTES);
        s->events = STRBUF(MAX_BYTES);
        s->last_channel = UINT32_MAX;
        wire_init(&s->wire, kind, v5, 4, &s->out, &handler, s);
}

static void server_done(struct server *s) {
        wire_done(&s->wire);
        queue_done(&s->out);
        strbuf_done(&s->events);
}

static bool feed(struct server *s, const struct strbuf *bytes, size_t from, size_t to) {
        uint8_t *copy;
        bool ok;

        if (from == to)
                return true;
        copy = xcalloc(to - from, 1); /* of the very size, for the sanitizers */
        memcpy(copy, bytes->data + from, to - from);
        ok = wire_feed(&s->wire, copy, to - from);
        free(copy);
        return ok;
}

static void check_result(const struct server *s, bool ok, bool expected_ok, const char *events,
                         const struct strbuf *said) {
        if (!str_eq(strbuf_str(&s->events), events))
                fprintf(stderr, "events \"%s\", expected \"%s\"\n", strbuf_str(&s->events), events);
        assert(str_eq(strbuf_str(&s->events), events));
        assert(ok == expected_ok);
        if (said) {
                assert(queue_len(&s->out) == said->len);
                assert(!said->len || memcmp(queue_front(&s->out), said->data, said->len) == 0);
        }
}

static void converse(enum wire_kind kind, bool v5, struct client *c, bool ok, const char *events,
                     const struct strbuf *said) {
        struct server s;
        bool result;

        for (size_t cut = 0; cut <= c->bytes.len; cut++) {
                server_init(&s, kind, v5);
                result = feed(&s, &c->bytes, 0, cut) && feed(&s, &c->bytes, cut, c->bytes.len);
                check_result(&s, result, ok, events, said);
                server_done(&s);
        }
        result = true;
        server_init(&s, kind, v5);
        for (size_t i = 0; i < c->bytes.len && result; i++)
                result = feed(&s, &c->bytes, i, i + 1);
        check_result(&s, result, ok, events, said);
        server_done(&s);
        client_done(c);
}

/* ---- SPDY ---- */

#define HEADERS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static const uint8_t first_reply[] = { 0x80, 3,    0, 2, 0, 0,    0,    24, 0, 0, 0, 1, 0x78, 0xf9, 0xe3, 0xc6,
                                       0xa7, 0xc2, 0, 4, 0, 0xfb, 0xff, 0,  0, 0, 0, 0, 0,    0,    0xff, 0xff };

static void test_dictionary(void) {
        uint8_t dictionary[SPDY_DICTIONARY_LEN];

        spdy_dictionary(dictionary);
        assert(adler32(adler32(0, NULL, 0), dictionary, sizeof(dictionary)) == 0xe3c6a7c2);
}

/* What an inflater makes of our replies: two blocks of one zlib stream. */
static void test_replies_inflate(void) {
        uint8_t in[2 * SPDY_EMPTY_BLOCK_MAX], out[64], dictionary[SPDY_DICTIONARY_LEN];
        size_t n = spdy_empty_block(true, in);
        z_stream z = { .next_in = in, .next_out = out, .avail_out = sizeof(out) };

        z.avail_in = (uInt) (n + spdy_empty_block(false, in + n));
        spdy_dictionary(dictionary);
        assert(inflateInit(&z) == Z_OK && inflate(&z, Z_SYNC_FLUSH) == Z_NEED_DICT);
        assert(inflateSetDictionary(&z, dictionary, sizeof(dictionary)) == Z_OK);
        assert(inflate(&z, Z_SYNC_FLUSH) == Z_OK && z.total_out == 8 && z.avail_in == 0);
        assert(memcmp(out, "\0\0\0\0\0\0\0\0", 8) == 0);
        assert(inflateEnd(&z) == Z_OK);
}

static void test_spdy_streams(void) {
        struct client c = { .bytes = STRBUF(MAX_BYTES) };
        _cleanup_strbuf_ struct strbuf said = STRBUF(MAX_BYTES);

        put_syn(&c, 1, 0, HEADERS("streamtype", "stdin"));
        put_data(&c, 1, "hello ", false);
        put_data(&c, 1, "", false);
        put_data(&c, 1, "world", true);
        put_control(&c, 4, "\0\0\0\0", 4);         /* SETTINGS */
        put_control(&c, 6, "\0\0\0\7", 4);         /* PING of the client */
        put_control(&c, 6, "\0\0\0\2", 4);         /* PING of nobody */
        put_control(&c, 9, "\0\0\0\1\0\0\1\0", 8); /* WINDOW_UPDATE */
        put_control(&c, 77, "what may that be?", 17);
        strbuf_append(&said, first_reply, sizeof(first_reply));
        strbuf_append(&said, "\x80\3\0\6\0\0\0\4\0\0\0\7", 12);
        converse(WIRE_SPDY, false, &c, true, " open(1,stdin,) 1:hello world end(1)", &said);
}

static void test_spdy_many(void) {
        struct client c = { .bytes = STRBUF(MAX_BYTES) };
        static const char two[] = "\0\0\0\1\0\0\0\6Port00\0\0\0\0";

        put_syn(&c, 1, 0, HEADERS("StreamType", "error", "port", "80"));
        put_syn(&c, 3, 1, HEADERS("streamtype", "data", "port", "80"));
        put_syn(&c, 5, 0, HEADERS("streamtype", "no"));
        put_data(&c, 5, "late", false); /* of a stream that was refused: nothing */
        put_data(&c, 1, "x", false);
        put_control(&c, 3, "\0\0\0\1\0\0\0\5", 8); /* RST_STREAM */
        put_data(&c, 1, "y", false);
        put_control(&c, 3, "\0\0\0\x63\0\0\0\5", 8);    /* of a stream that never was */
        put_syn(&c, 7, 0, HEADERS("host", "x"));        /* forbidden */
        put_syn(&c, 9, 0, HEADERS("a", "x", "A", "y")); /* twice */
        put_syn(&c, 10, 0, HEADERS("streamtype", "even"));
        put_syn(&c, 3, 0, HEADERS("streamtype", "again"));
        put_syn(&c, 11, 2, HEADERS("streamtype", "unidirectional"));
        put_syn_of(&c, 13, 0, &(struct strbuf){ .data = (char *) (uintptr_t) two, .len = 12 }); /* cut off */
        put_syn(&c, 15, 0, HEADERS("streamtype", "ok"));
        put_control(&c, 8, "\0\0\0\x0f\0\0\0\0", 4 + 0 + 0); /* HEADERS without a block: nothing to inflate */
        put_control(&c, 7, "\0\0\0\0\0\0\0\0", 8);           /* GOAWAY */
        converse(WIRE_SPDY, false, &c, true,
                 " open(1,error,80) open(3,data,80) end(3) open(5,no,) 1:x reset(1) reset(3) open(15,ok,)", NULL);
}

static void test_spdy_limits(void) {
        struct client c = { .bytes = STRBUF(MAX_BYTES) };
        _cleanup_strbuf_ struct strbuf bomb = STRBUF(MAX_BYTES);

        for (uint32_t id = 1; id <= 11; id += 2)
                put_syn(&c, id, 0, HEADERS("streamtype", "x"));
        converse(WIRE_SPDY, false, &c, true, " open(1,x,) open(3,x,) open(5,x,) open(7,x,)", NULL);

        c = (struct client){ .bytes = STRBUF(MAX_BYTES) };
        put_u32(&bomb, 1);
        put_string(&bomb, "a", 1);
        put_u32(&bomb, SPDY_BLOCK_MAX);
        for (int i = 0; i < SPDY_BLOCK_MAX; i++)
                strbuf_putc(&bomb, 'x');
        put_syn_of(&c, 1, 0, &bomb);
        converse(WIRE_SPDY, false, &c, false, "", NULL);
}

static void test_spdy_broken(void) {
        static const struct {
                const char *bytes;
                size_t len;
        } broken[] = {
                { "\x80\2\0\1\0\0\0\x0a", 8 },                              /* version 2 */
                { "\x80\3\0\1\0\0\0\x09", 8 },                              /* SYN_STREAM without its head */
                { "\x80\3\0\6\0\0\0\3", 8 },                                /* PING cut short */
                { "\x80\3\0\1\0\xff\0\0", 8 },                              /* larger than a control frame may be */
                { "\x80\3\0\1\0\0\0\x0e\0\0\0\1\0\0\0\0\0\0nope", 8 + 14 }, /* not zlib */
        };

        for (size_t i = 0; i < ELEMENTSOF(broken); i++) {
                struct client c = { .bytes = STRBUF(MAX_BYTES) };
                _cleanup_strbuf_ struct strbuf said = STRBUF(MAX_BYTES);

                strbuf_append(&c.bytes, broken[i].bytes, broken[i].len);
                strbuf_append(&said, "\x80\3\0\7\0\0\0\x08\0\0\0\0\0\0\0\1", 16);
                converse(WIRE_SPDY, false, &c, false, "", &said);
        }
}

static void test_spdy_out(void) {
        struct client c = { .bytes = STRBUF(MAX_BYTES) };
        _cleanup_strbuf_ struct strbuf said = STRBUF(MAX_BYTES);
        struct server s;

        server_init(&s, WIRE_SPDY, false);
        put_syn(&c, 1, 1, HEADERS("streamtype", "a"));
        assert(feed(&s, &c.bytes, 0, c.bytes.len));
        queue_consume(&s.out, queue_len(&s.out));
        wire_send(&s.wire, 1, "hi", 2);
        wire_send(&s.wire, 3, "nobody", 6);
        wire_fin(&s.wire, 1); /* both sides now: the stream is over */
        wire_send(&s.wire, 1, "late", 4);
        wire_fin(&s.wire, 1);
        wire_reset(&s.wire, 1, SPDY_CANCEL);
        wire_close(&s.wire);
        wire_close(&s.wire);
        strbuf_append(&said, "\0\0\0\1\0\0\0\2hi\0\0\0\1\1\0\0\0\x80\3\0\7\0\0\0\x08\0\0\0\1\0\0\0\0", 34);
        check_result(&s, true, true, " open(1,a,) end(1)", &said);
        server_done(&s);
        client_done(&c);
}

/* ---- WebSocket ---- */

static void test_websocket_channels(void) {
        struct client c = { .bytes = STRBUF(MAX_BYTES) };
        _cleanup_strbuf_ struct strbuf said = STRBUF(MAX_BYTES);
        char big[131], expected[200];

        memset(big, 'z', sizeof(big));
        big[130] = '\0';
        big[0] = 0;
        put_ws(&c, 0x82, "\0abc", 4);
        put_ws(&c, 0x82, "\4{}", 3);
        put_ws(&c, 0x82, "\0", 1);
        put_ws(&c, 0x82, "", 0);
        put_ws(&c, 0x02, "\0one", 4); /* in fragments, with a ping between */
        put_ws(&c, 0x89, "ping", 4);
        put_ws(&c, 0x00, "", 0);
        put_ws(&c, 0x80, "two", 3);
        put_ws(&c, 0x8a, "", 0);
        put_ws(&c, 0x82, big, 130);
        put_ws(&c, 0x82, "\xff\0", 2); /* v5: the end of channel 0 */
        put_ws(&c, 0x88, "\x03\xe8", 2);
        put_ws(&c, 0x82, "\0after", 6);
        strbuf_append(&said, "\x8a\4ping\x88\2\x03\xe8", 10);
        (void) snprintf(expected, sizeof(expected), " 0:abc 4:{} 0:onetwo%s end(0)", big + 1);
        converse(WIRE_CHANNELS, true, &c, true, expected, &said);

        /* Before v5 there is nothing special about 255. */
        c = (struct client){ .bytes = STRBUF(MAX_BYTES) };
        put_ws(&c, 0x82,
               "\xff"
               "a",
               2);
        converse(WIRE_CHANNELS, false, &c, true, " 255:a", NULL);
}

static void test_websocket_base64(void) {
        struct client c = { .bytes = STRBUF(MAX_BYTES) };
        struct server s;

        put_ws(&c, 0x81, "0aGVsbG8=", 9);
        put_ws(&c, 0x81, "0", 1);
        put_ws(&c, 0x01, "0IHdv", 5);
        put_ws(&c, 0x80, "cmxk", 4);
        converse(WIRE_BASE64, false, &c, true, " 0:hello world", NULL);

        for (int i = 0; i < 4; i++) {
                static const char *const wrong[] = { "0a", "0a=bc", "0ab=c", "0abcd=" };

                c = (struct client){ .bytes = STRBUF(MAX_BYTES) };
                put_ws(&c, 0x81, wrong[i], strlen(wrong[i]));
                server_init(&s, WIRE_BASE64, false);
                assert(!feed(&s, &c.bytes, 0, c.bytes.len));
                assert(queue_len(&s.out) == 4 && memcmp(queue_front(&s.out), "\x88\2\x03\xef", 4) == 0);
                server_done(&s);
                client_done(&c);
        }
        server_init(&s, WIRE_BASE64, false);
        wire_send(&s.wire, 1, "hello", 5);
        wire_send(&s.wire, 2, NULL, 0);
        assert(queue_len(&s.out) == 14 && memcmp(queue_front(&s.out),
                                                 "\x81\x09"
                                                 "1aGVsbG8=\x81\1"
                                                 "2",
                                                 14) == 0);
        server_done(&s);
}

static void test_websocket_broken(void) {
        static const struct {
                const char *bytes;
                size_t len;
        } broken[] = {
                { "\x82\1\0", 3 },                          /* without a mask */
                { "\xc2\x81\0\0\0\0\0", 7 },                /* a reserved bit */
                { "\x83\x81\0\0\0\0\0", 7 },                /* an opcode that there is not */
                { "\x80\x81\0\0\0\0\0", 7 },                /* continues nothing */
                { "\x02\x80\0\0\0\0\x82\x80\0\0\0\0", 12 }, /* a message within a message */
                { "\x09\x80\0\0\0\0", 6 },                  /* a ping in fragments */
                { "\x89\xfe\0\x80", 4 },                    /* a ping that is too long */
                { "\x88\x81\0\0\0\0\0", 7 },                /* half a status */
                { "\x82\xfe\0\x7d\0\0\0\0", 8 },            /* a length that is longer than it need be */
                { "\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0", 14 },
                { "\x82\xff\x80\0\0\0\0\1\0\0\0\0\0\0", 14 }, /* a negative length */
        };

        for (size_t i = 0; i < ELEMENTSOF(broken); i++) {
                struct client c = { .bytes = STRBUF(MAX_BYTES) };
                _cleanup_strbuf_ struct strbuf said = STRBUF(MAX_BYTES);

                strbuf_append(&c.bytes, broken[i].bytes, broken[i].len);
                strbuf_append(&said, "\x88\2\x03\xea", 4);
                converse(WIRE_CHANNELS, true, &c, false, "", &said);
        }
}

static void test_tunnel(void) {
        struct client spdy = { .bytes = STRBUF(MAX_BYTES) }, c = { .bytes = STRBUF(MAX_BYTES) };
        _cleanup_strbuf_ struct strbuf said = STRBUF(MAX_BYTES);

        put_syn(&spdy, 1, 0, HEADERS("streamtype", "data", "port", "1"));
        put_data(&spdy, 1, "bytes", true);
        put_ws(&c, 0x82, spdy.bytes.data, 7);
        put_ws(&c, 0x82, "", 0);
        put_ws(&c, 0x82, spdy.bytes.data + 7, spdy.bytes.len - 7);
        strbuf_append(&said, "\x82\x20", 2);
        strbuf_append(&said, first_reply, sizeof(first_reply));
        converse(WIRE_TUNNEL, false, &c, true, " open(1,data,1) 1:bytes end(1)", &said);
        client_done(&spdy);
}

int main(void) {
        test_dictionary();
        test_replies_inflate();
        test_spdy_streams();
        test_spdy_many();
        test_spdy_limits();
        test_spdy_broken();
        test_spdy_out();
        test_websocket_channels();
        test_websocket_base64();
        test_websocket_broken();
        test_tunnel();
        return 0;
}
