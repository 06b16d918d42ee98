/* SPDX-License-Identifier: Apache-2.0 */
/* inflate - any bytes as a compressed layer. The first byte chooses the compression, the second how large the pieces
 * are. */
#undef NDEBUG
#include <assert.h>
#include "image/inflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_OUT = 1 << 20 };

/* One piece. False: no more of it can be taken. */
static bool feed(struct inflate *z, const uint8_t *data, size_t len, size_t *total) {
        static uint8_t buf[4096];
        struct inflate_in in = { data, len };
        struct err err;

        for (;;) {
                struct inflate_out out = { buf, sizeof(buf) };
                size_t had = in.len;

                if (inflate_run(z, &in, &out, &err) < 0)
                        return false;
                assert(out.len <= sizeof(buf) && out.data + out.len == buf + sizeof(buf));
                assert(in.len <= had && in.data + in.len == data + len);
                *total += sizeof(buf) - out.len;
                if (*total > MAX_OUT)
                        return false;
                if (!in.len && out.len)
                        return true;
                assert(in.len < had || out.len < sizeof(buf)); /* always a step further */
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(inflate_freep) struct inflate *z = NULL;
        struct err err;
        size_t total = 0, piece;

        if (size < 2)
                return 0;
        z = inflate_new((enum inflate_kind)(data[0] % 3));
        piece = (size_t) data[1] + 1;
        for (data += 2, size -= 2; size; data += piece, size -= piece) {
                if (piece > size)
                        piece = size;
                if (!feed(z, data, piece, &total))
                        return 0;
        }
        (void) !inflate_end(z, &err);
        return 0;
}
