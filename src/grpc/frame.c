/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/frame.h"

#include <string.h>
#include <zlib.h>

/* Announced lengths up to this are believed and allocated at once. */
enum { BELIEVE_BYTES = 32 * 1024 };

void frame_parser_init(struct frame_parser *p, size_t max_message_bytes) {
        *p = (struct frame_parser){ .body = STRBUF(max_message_bytes) };
}

void frame_parser_done(struct frame_parser *p) {
        strbuf_done(&p->body);
}

void frame_parser_next(struct frame_parser *p) {
        strbuf_done(&p->body);
        p->head_len = 0;
        p->complete = false;
        p->compressed = false;
}

static uint32_t announced(const struct frame_parser *p) {
        return (uint32_t) p->head[1] << 24 | (uint32_t) p->head[2] << 16 | (uint32_t) p->head[3] << 8 | p->head[4];
}

static int head_done(struct frame_parser *p, struct err *err) {
        uint32_t len = announced(p);

        if (p->head[0] > 1)
                return err_set(err, ERR_INTERNAL, "grpc: message with unknown flags 0x%02x", p->head[0]);
        if (len > p->body.max)
                return err_set(err, ERR_EXHAUSTED, "grpc: received message larger than max (%u vs. %zu)", len,
                               p->body.max);
        p->compressed = p->head[0] == 1;
        (void) strbuf_reserve(&p->body, MIN_OF(len, (uint32_t) BELIEVE_BYTES));
        return 0;
}

int frame_feed(struct frame_parser *p, const void *data, size_t len, size_t *ret_used, struct err *err) {
        const uint8_t *bytes = data;
        size_t used = 0, n;
        int r;

        *ret_used = 0;
        if (p->complete)
                return 0;
        if (p->head_len < FRAME_HEAD_BYTES) {
                used = MIN_OF(len, FRAME_HEAD_BYTES - p->head_len);
                if (used)
                        memcpy(p->head + p->head_len, bytes, used);
                p->head_len += used;
                *ret_used = used;
                if (p->head_len < FRAME_HEAD_BYTES)
                        return 0;
                r = head_done(p, err);
                if (r < 0)
                        return r;
        }
        n = MIN_OF(len - used, announced(p) - p->body.len);
        strbuf_append(&p->body, bytes + used, n);
        *ret_used = used + n;
        p->complete = p->body.len == announced(p);
        return 0;
}

void frame_head(uint8_t head[FRAME_HEAD_BYTES], uint32_t len) {
        head[0] = 0;
        head[1] = (uint8_t) (len >> 24);
        head[2] = (uint8_t) (len >> 16);
        head[3] = (uint8_t) (len >> 8);
        head[4] = (uint8_t) len;
}

struct inflater {
        z_stream z;
        uint8_t probe;
};

/* Give zlib more room: doubling, never past the maximum. There, one byte aside tells an end from a bomb; returns false.
 */
static bool more_room(struct inflater *i, struct strbuf *out, size_t hint) {
        size_t room = MIN_OF(MAX_OF(out->len, hint), out->max - out->len);

        i->z.next_out = room ? (uint8_t *) strbuf_reserve(out, room) : &i->probe;
        i->z.avail_out = room ? (unsigned) room : 1;
        return room != 0;
}

static int inflate_all(struct inflater *i, struct strbuf *out, struct err *err) {
        z_stream *z = &i->z;
        size_t hint = MAX_OF((size_t) z->avail_in * 2, (size_t) 512);
        int r = Z_OK;

        do {
                bool has_room = more_room(i, out, hint);
                unsigned before = z->avail_out;

                r = inflate(z, Z_NO_FLUSH);
                if (!has_room && before != z->avail_out)
                        return err_set(err, ERR_EXHAUSTED,
                                       "grpc: received message after decompression larger than max %zu", out->max);
                out->len += before - z->avail_out;
                /* A gzip file may have several members. */
                if (r == Z_STREAM_END && z->avail_in)
                        r = inflateReset(z);
        } while (r == Z_OK && (z->avail_in || z->avail_out == 0));
        if (r == Z_STREAM_END)
                return 0;
        return err_set(err, ERR_INTERNAL, "grpc: failed to decompress the received message: %s",
                       z->msg ? z->msg : "unexpected end");
}

int frame_gunzip(const void *data, size_t len, struct strbuf *ret, struct err *err) {
        struct inflater i = { .z = { .next_in = (uint8_t *) (uintptr_t) data, .avail_in = (unsigned) len } };
        int r;

        if (len > UINT32_MAX || inflateInit2(&i.z, 16 + MAX_WBITS) != Z_OK)
                return err_set(err, ERR_EXHAUSTED, "grpc: no memory to decompress");
        r = inflate_all(&i, ret, err);
        (void) inflateEnd(&i.z);
        return r;
}
