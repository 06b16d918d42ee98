/* SPDX-License-Identifier: Apache-2.0 */
#include "image/deflate.h"

#include <isa-l/igzip_lib.h>
#include "base/alloc.h"

enum { OUT_BYTES = 128 * 1024, LEVEL = 2 };

struct deflate {
        struct isal_zstream stream;
        deflate_write_fn write;
        void *userdata;
        uint8_t *level, *out;
};

struct deflate *deflate_new(deflate_write_fn write, void *userdata) {
        struct deflate *z = xnew(struct deflate);

        z->write = write;
        z->userdata = userdata;
        z->level = xcalloc(1, ISAL_DEF_LVL2_DEFAULT);
        z->out = xcalloc(1, OUT_BYTES);
        isal_deflate_init(&z->stream);
        z->stream.level = LEVEL;
        z->stream.level_buf = z->level;
        z->stream.level_buf_size = ISAL_DEF_LVL2_DEFAULT;
        z->stream.gzip_flag = IGZIP_GZIP;
        z->stream.flush = NO_FLUSH;
        return z;
}

static int run(struct deflate *z, struct err *err) {
        do {
                size_t n;
                int r;

                z->stream.next_out = z->out;
                z->stream.avail_out = OUT_BYTES;
                r = isal_deflate(&z->stream);
                if (r != COMP_OK)
                        return err_set(err, ERR_INTERNAL, "compress: ISA-L says %d", r);
                n = OUT_BYTES - z->stream.avail_out;
                r = n ? z->write(z->out, n, z->userdata, err) : 0;
                if (r < 0)
                        return r;
        } while (z->stream.avail_out == 0 || z->stream.avail_in > 0);
        return 0;
}

int deflate_run(struct deflate *z, const void *data, size_t len, struct err *err) {
        const uint8_t *at = data;
        int r = 0;

        while (r == 0 && len > 0) {
                uint32_t n = (uint32_t) MIN_OF(len, (size_t) 1 << 30);

                z->stream.next_in = (uint8_t *) (uintptr_t) at;
                z->stream.avail_in = n;
                r = run(z, err);
                at += n;
                len -= n;
        }
        return r;
}

int deflate_end(struct deflate *z, struct err *err) {
        int r;

        z->stream.end_of_stream = 1;
        z->stream.avail_in = 0;
        do
                r = run(z, err);
        while (r == 0 && z->stream.internal_state.state != ZSTATE_END);
        return r;
}

struct deflate *deflate_free(struct deflate *z) {
        if (!z)
                return NULL;
        free(z->level);
        free(z->out);
        free(z);
        return NULL;
}
