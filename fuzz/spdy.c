/* SPDX-License-Identifier: Apache-2.0 */
/* spdy - a SPDY connection without a socket. Input: a first byte (its lowest bit: header blocks are to be compressed
 * here, so that what is mutated is what they say), then frames; how they are cut is up to the second byte. What comes
 * out is bounded by what went in, and parses as frames. */
#undef NDEBUG
#include <assert.h>
#include <string.h>
#include <zlib.h>
#include "streaming/spdy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_OUT = 1 << 20, MAX_STREAMS = 8 };

struct session {
        struct spdy spdy;
        struct strbuf out;
        size_t data_bytes;
};

static void on_opened(void *userdata, uint32_t id, const struct spdy_headers *headers) {
        struct session *s = userdata;
        char value[32];

        assert(id % 2 == 1 && s->spdy.n_streams <= MAX_STREAMS);
        if (spdy_headers_get(headers, "streamtype", value, sizeof(value)) && *value == 'r') {
                spdy_reset(&s->spdy, id, SPDY_REFUSED_STREAM);
                return;
        }
        spdy_reply(&s->spdy, id);
        spdy_send(&s->spdy, id, "hello", 5);
}

static void on_data(void *userdata, uint32_t id, const uint8_t *data, size_t len) {
        struct session *s = userdata;

        s->data_bytes += len;
        if (len && data[0] == 'f')
                spdy_fin(&s->spdy, id);
        if (len && data[0] == 'r')
                spdy_reset(&s->spdy, id, SPDY_CANCEL);
}

static void on_ended(void *userdata, uint32_t id, bool reset) {
        struct session *s = userdata;

        if (id % 4 == 1)
                spdy_fin(&s->spdy, id);
}

static void on_goaway(void *userdata) {
}

static void on_write(void *userdata, const void *data, size_t len) {
        struct session *s = userdata;
        strbuf_append(&s->out, data, len);
}

static const struct spdy_handler handler = { on_opened, on_data, on_ended, on_goaway, on_write };

/* Frames with plain header blocks -> what goes over the wire. */
static void compress_blocks(const uint8_t *data, size_t size, struct strbuf *out) {
        uint8_t dictionary[SPDY_DICTIONARY_LEN], piece[8192];
        z_stream z = { 0 };

        spdy_dictionary(dictionary);
        assert(deflateInit(&z, 1) == Z_OK && deflateSetDictionary(&z, dictionary, sizeof(dictionary)) == Z_OK);
        while (size >= 8) {
                size_t len = (size_t) data[5] << 16 | (size_t) data[6] << 8 | data[7];
                size_t there = MIN_OF(len, size - 8);

                if (data[0] == 0x80 && data[3] == 1 && there >= 10 && there < 4096) {
                        z.next_in = (Bytef *) (uintptr_t) (data + 18);
                        z.avail_in = (uInt) (there - 10);
                        z.next_out = piece;
                        z.avail_out = sizeof(piece);
                        assert(deflate(&z, Z_SYNC_FLUSH) == Z_OK || there == 10);
                        len = 10 + sizeof(piece) - z.avail_out;
                        strbuf_append(out, data, 5);
                        strbuf_append(out, (uint8_t[3]){ 0, (uint8_t) (len >> 8), (uint8_t) len }, 3);
                        strbuf_append(out, data + 8, 10);
                        strbuf_append(out, piece, len - 10);
                } else {
                        strbuf_append(out, data, 8 + there);
                }
                data += 8 + there;
                size -= 8 + there;
        }
        strbuf_append(out, data, size);
        (void) deflateEnd(&z);
}

static void check_out(const struct strbuf *out) {
        const uint8_t *p = (const uint8_t *) out->data;

        for (size_t left = out->len, n; left; p += n, left -= n) {
                assert(left >= 8);
                n = 8 + ((size_t) p[5] << 16 | (size_t) p[6] << 8 | p[7]);
                assert(n <= left && (p[0] < 0x80 || (p[0] == 0x80 && p[1] == 3)));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_strbuf_ struct strbuf wire = STRBUF(MAX_OUT);
        struct session s = { .out = STRBUF(MAX_OUT) };
        struct err err;
        size_t piece;
        int r = 0;

        if (size < 2 || size > 16384)
                return 0;
        piece = data[1] ? data[1] : SIZE_MAX;
        if (data[0] & 1)
                compress_blocks(data + 2, size - 2, &wire);
        else
                strbuf_append(&wire, data + 2, size - 2);
        spdy_init(&s.spdy, MAX_STREAMS, &handler, &s);
        for (size_t at = 0, n; at < wire.len && r == 0; at += n) {
                n = MIN_OF(piece, wire.len - at);
                r = spdy_feed(&s.spdy, (const uint8_t *) wire.data + at, n, &err);
        }
        assert(s.data_bytes <= wire.len && s.out.len <= 8 * wire.len + 64 && !s.out.overflow);
        spdy_close(&s.spdy);
        assert(s.spdy.n_streams == 0);
        check_out(&s.out);
        spdy_done(&s.spdy);
        strbuf_done(&s.out);
        return 0;
}
