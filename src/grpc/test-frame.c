/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "base/alloc.h"
#include "grpc/frame.h"
#include "grpc/status.h"

static const uint8_t two[] = { 0, 0, 0, 0, 3, 'a', 'b', 'c', 1, 0, 0, 0, 0 };

/* Two messages, fed @step bytes at a time. */
static void test_steps(size_t step) {
        struct frame_parser p;
        struct err err = { 0 };
        size_t used, seen = 0;

        frame_parser_init(&p, 16);
        for (size_t at = 0; at < sizeof(two);) {
                size_t n = MIN_OF(step, sizeof(two) - at);
                assert(frame_feed(&p, two + at, n, &used, &err) == 0 && used <= n);
                at += used;
                if (!p.complete) {
                        assert(used == n);
                        continue;
                }
                seen++;
                assert(seen != 1 || (p.body.len == 3 && memcmp(p.body.data, "abc", 3) == 0 && !p.compressed));
                assert(seen != 2 || (p.body.len == 0 && p.compressed));
                frame_parser_next(&p);
        }
        assert(seen == 2 && frame_parser_idle(&p));
        frame_parser_done(&p);
}

static void test_limits(void) {
        static const uint8_t big[] = { 0, 0, 0, 0, 17 }, flags[] = { 2, 0, 0, 0, 1 },
                             most[] = { 0, 0xff, 0xff, 0xff, 0xff };
        static const uint8_t announced[] = { 0, 0, 0xff, 0xff, 0xff, 'x' };
        struct frame_parser p;
        struct err err = { 0 };
        size_t used;

        frame_parser_init(&p, 16);
        assert(frame_feed(&p, big, sizeof(big), &used, &err) == -ERR_EXHAUSTED);
        assert(strcmp(err.msg, "grpc: received message larger than max (17 vs. 16)") == 0);
        frame_parser_next(&p);
        assert(frame_feed(&p, most, sizeof(most), &used, &err) == -ERR_EXHAUSTED);
        frame_parser_next(&p);
        assert(frame_feed(&p, flags, sizeof(flags), &used, &err) == -ERR_INTERNAL);
        frame_parser_done(&p);
        /* Memory follows what has arrived. */
        frame_parser_init(&p, 16 << 20);
        assert(frame_feed(&p, announced, sizeof(announced), &used, &err) == 0 && used == sizeof(announced));
        assert(!p.complete && p.body.cap < 64 * 1024);
        frame_parser_done(&p);
}

static size_t gzip(const void *data, size_t len, uint8_t *out, size_t size) {
        z_stream z = { .next_in = (uint8_t *) (uintptr_t) data,
                       .avail_in = (unsigned) len,
                       .next_out = out,
                       .avail_out = (unsigned) size };

        assert(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY) == Z_OK);
        assert(deflate(&z, Z_FINISH) == Z_STREAM_END);
        (void) deflateEnd(&z);
        return z.total_out;
}

static int gunzip(const uint8_t *data, size_t len, size_t max, size_t *ret_len) {
        struct strbuf out = STRBUF(max);
        uint8_t *exact = xcalloc(1, len ? len : 1);
        struct err err = { 0 };
        int r;

        memcpy(exact, data, len);
        r = frame_gunzip(exact, len, &out, &err);
        *ret_len = out.len;
        assert(out.cap <= 2 * max + 64);
        strbuf_done(&out);
        free(exact);
        return r;
}

static void test_gzip(void) {
        uint8_t *zeroes = xcalloc(1, 1 << 20), packed[4096], damaged[4096];
        size_t n, len;

        n = gzip(zeroes, 1 << 20, packed, sizeof(packed));
        assert(gunzip(packed, n, 1 << 20, &len) == 0 && len == 1 << 20);
        assert(gunzip(packed, n, 2 << 20, &len) == 0 && len == 1 << 20);
        assert(gunzip(packed, n, (1 << 20) - 1, &len) == -ERR_EXHAUSTED && len <= 1 << 20);
        assert(gunzip(packed, n, 1000, &len) == -ERR_EXHAUSTED);
        assert(gunzip(packed, 0, 1000, &len) == -ERR_INTERNAL);
        n = gzip("hello", 5, packed, sizeof(packed));
        for (size_t cut = 0; cut < n; cut++)
                assert(gunzip(packed, cut, 100, &len) == -ERR_INTERNAL);
        for (size_t at = 0; at < n; at++)
                for (unsigned v = 0; v < 256; v += 3) {
                        memcpy(damaged, packed, n);
                        damaged[at] = (uint8_t) v;
                        (void) gunzip(damaged, n, 100, &len);
                }
        /* Two members are one text. */
        n += gzip(" world", 6, packed + n, sizeof(packed) - n);
        assert(gunzip(packed, n, 11, &len) == 0 && len == 11);
        n = gzip("", 0, packed, sizeof(packed));
        assert(gunzip(packed, n, 0, &len) == 0 && len == 0);
        free(zeroes);
}

static void test_messages(void) {
        static const struct {
                const char *plain, *wire;
        } table[] = {
                { "", "" },
                { "plain text, ok~", "plain text, ok~" },
                { "100%", "100%25" },
                { "a\nb\t\x7f", "a%0Ab%09%7F" },
                { "gr\xc3\xbc\xc3\x9f", "gr%C3%BC%C3%9F" },
        };
        char wire[GRPC_MESSAGE_MAX], out[64], tiny[4];
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                assert(status_encode_message(table[i].plain, wire) == strlen(table[i].wire));
                assert(strcmp(wire, table[i].wire) == 0);
        }
        status_decode_message("gr%c3%BC %", 10, out, sizeof(out));
        assert(strcmp(out, "gr\xc3\xbc %") == 0);
        status_decode_message("%zz%1b[0m%0a%4", 14, out, sizeof(out));
        assert(strcmp(out, "%zz?[0m\n%4") == 0);
        status_decode_message("abcdef", 6, tiny, sizeof(tiny));
        assert(strcmp(tiny, "abc") == 0);
        memset(err.msg, 0xff, sizeof(err.msg) - 1);
        err.msg[sizeof(err.msg) - 1] = '\0';
        assert(status_encode_message(err.msg, wire) == 3 * (sizeof(err.msg) - 1));
}

static void test_timeouts(void) {
        static const struct {
                const char *text;
                bool ok;
                uint64_t ns;
        } table[] = {
                { "1n", true, 1 },
                { "20u", true, 20000 },
                { "5m", true, 5000000 },
                { "7S", true, UINT64_C(7000000000) },
                { "2M", true, UINT64_C(120000000000) },
                { "1H", true, UINT64_C(3600000000000) },
                { "99999999H", true, UINT64_MAX },
                { "00000000n", true, 0 },
                { "000000001n", false, 0 },
                { "", false, 0 },
                { "S", false, 0 },
                { "5", false, 0 },
                { "5s", false, 0 },
                { "-5S", false, 0 },
                { "5 S", false, 0 },
                { "5SS", false, 0 },
                { "0x5S", false, 0 },
        };
        static const uint64_t values[] = { 1,         99999999, 100000000, 12345678901, 120000000000, UINT64_C(1) << 60,
                                           UINT64_MAX };
        char out[GRPC_TIMEOUT_MAX];
        uint64_t ns;

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                assert(status_parse_timeout(table[i].text, strlen(table[i].text), &ns) == table[i].ok);
                assert(!table[i].ok || ns == table[i].ns);
        }
        /* Never shorter than asked for, and at most one unit longer. */
        for (size_t i = 0; i < ELEMENTSOF(values); i++) {
                status_format_timeout(values[i], out);
                assert(strlen(out) <= 9 && status_parse_timeout(out, strlen(out), &ns));
                assert(ns >= values[i] && ns - values[i] < values[i] / 1000000 + 1);
        }
}

int main(void) {
        for (size_t step = 1; step <= sizeof(two); step++)
                test_steps(step);
        test_limits();
        test_gzip();
        test_messages();
        test_timeouts();
        return 0;
}
