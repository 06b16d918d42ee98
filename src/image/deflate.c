/* SPDX-License-Identifier: Apache-2.0 */
#include "image/deflate.h"

#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <zstd.h>
#include "base/alloc.h"
#include "image/avx.h"

enum { OUT_BYTES = 128 * 1024, LEVEL = 2 };

struct deflate {
        ZSTD_CCtx *zstd; /* NULL: gzip */
        struct isal_zstream stream;
        deflate_write_fn write;
        void *userdata;
        uint8_t *level, *out;
};

struct deflate *deflate_new(enum deflate_kind kind, deflate_write_fn write, void *userdata) {
        struct deflate *z = xnew(struct deflate);

        z->write = write;
        z->userdata = userdata;
        z->out = xcalloc(1, OUT_BYTES);
        if (kind == DEFLATE_ZSTD) {
                z->zstd = ZSTD_createCCtx();
                if (!z->zstd || ZSTD_isError(ZSTD_CCtx_setParameter(z->zstd, ZSTD_c_checksumFlag, 1)))
                        abort();
                return z;
        }
        z->level = xcalloc(1, ISAL_DEF_LVL2_DEFAULT);
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
                avx_clear_upper_halves();
                if (r != COMP_OK)
                        return err_set(err, ERR_INTERNAL, "compress: ISA-L says %d", r);
                n = OUT_BYTES - z->stream.avail_out;
                r = n ? z->write(z->out, n, z->userdata, err) : 0;
                if (r < 0)
                        return r;
        } while (z->stream.avail_out == 0 || z->stream.avail_in > 0);
        return 0;
}

static int run_zstd(struct deflate *z, const void *data, size_t len, ZSTD_EndDirective end, struct err *err) {
        ZSTD_inBuffer in = { .src = data, .size = len };

        for (;;) {
                ZSTD_outBuffer out = { .dst = z->out, .size = OUT_BYTES };
                size_t left = ZSTD_compressStream2(z->zstd, &out, &in, end);
                int r;

                if (ZSTD_isError(left))
                        return err_set(err, ERR_INTERNAL, "compress: %s", ZSTD_getErrorName(left));
                r = out.pos > 0 ? z->write(z->out, out.pos, z->userdata, err) : 0;
                if (r < 0 || (end == ZSTD_e_end ? left == 0 : in.pos == in.size))
                        return r;
        }
}

int deflate_run(struct deflate *z, const void *data, size_t len, struct err *err) {
        const uint8_t *at = data;
        int r = 0;

        if (z->zstd)
                return run_zstd(z, data, len, ZSTD_e_continue, err);
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

        if (z->zstd)
                return run_zstd(z, NULL, 0, ZSTD_e_end, err);
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
        (void) ZSTD_freeCCtx(z->zstd);
        free(z->level);
        free(z->out);
        free(z);
        return NULL;
}
