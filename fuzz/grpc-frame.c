/* SPDX-License-Identifier: Apache-2.0 */
/* grpc-frame - length-prefixed messages in pieces, gzip, grpc-timeout and grpc-message. The first byte chooses. */
#include <stdlib.h>
#include <string.h>
#include "base/attr.h"
#include "grpc/frame.h"
#include "grpc/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 1 << 16 };

static void feed(const uint8_t *data, size_t size, size_t step) {
        struct frame_parser p;
        struct err err;
        size_t used;

        frame_parser_init(&p, MAX_BYTES);
        while (size) {
                size_t n = MIN_OF(step, size);

                if (frame_feed(&p, data, n, &used, &err) < 0)
                        break;
                if (used > n || (!p.complete && used != n) || p.body.len > MAX_BYTES)
                        abort();
                data += used;
                size -= used;
                if (p.complete)
                        frame_parser_next(&p);
        }
        frame_parser_done(&p);
}

static void gunzip(const uint8_t *data, size_t size) {
        struct strbuf out = STRBUF(MAX_BYTES);
        struct err err;

        (void) !frame_gunzip(data, size, &out, &err);
        if (out.len > MAX_BYTES)
                abort();
        strbuf_done(&out);
}

static void texts(const uint8_t *data, size_t size) {
        char out[sizeof(((struct err *) 0)->msg)], again[sizeof(out)], wire[GRPC_MESSAGE_MAX],
                timeout[GRPC_TIMEOUT_MAX];
        uint64_t ns, back;

        status_decode_message((const char *) data, size, out, sizeof(out));
        status_decode_message(wire, status_encode_message(out, wire), again, sizeof(again));
        if (strcmp(out, again) != 0)
                abort();
        if (!status_parse_timeout((const char *) data, size, &ns))
                return;
        status_format_timeout(ns, timeout);
        if (!status_parse_timeout(timeout, strlen(timeout), &back) || back < ns)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (!size)
                return 0;
        if (data[0] == 0)
                gunzip(data + 1, size - 1);
        else if (data[0] == 1)
                texts(data + 1, size - 1);
        else
                feed(data + 1, size - 1, data[0]);
        return 0;
}
