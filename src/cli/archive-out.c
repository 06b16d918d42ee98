/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/archive-out.h"

#include <errno.h>
#include <unistd.h>
#include <zstd.h>
#include "base/alloc.h"
#include "cli/cli.h"
#include "image/deflate.h"

struct archive_out {
        int fd;
        struct deflate *deflate;
        ZSTD_CCtx *zstd;
        char *buffer; /* of zstd */
        size_t room;
};

/* A pipe may be full for long: an interruption ends that. */
static int put(const void *data, size_t len, void *userdata, struct err *err) {
        const struct archive_out *o = userdata;
        const char *at = data;

        while (len > 0) {
                ssize_t n;

                if (cli_interrupted())
                        return err_set(err, ERR_CANCELLED, "interrupted");
                n = write(o->fd, at, len);
                if (n < 0 && errno != EINTR)
                        return err_sys(err, errno, "write");
                if (n > 0) {
                        at += n;
                        len -= (size_t) n;
                }
        }
        return 0;
}

struct archive_out *archive_out_new(int fd, enum archive_compression how) {
        struct archive_out *o = xnew(struct archive_out);

        o->fd = fd;
        if (how == ARCHIVE_GZIP)
                o->deflate = deflate_new(put, o);
        if (how == ARCHIVE_ZSTD) {
                o->zstd = ZSTD_createCCtx();
                o->room = ZSTD_CStreamOutSize();
                o->buffer = xcalloc(1, o->room);
                if (!o->zstd || ZSTD_isError(ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_checksumFlag, 1)))
                        abort();
        }
        return o;
}

static int run_zstd(struct archive_out *o, const void *data, size_t len, ZSTD_EndDirective end, struct err *err) {
        ZSTD_inBuffer in = { .src = data, .size = len };

        for (;;) {
                ZSTD_outBuffer out = { .dst = o->buffer, .size = o->room };
                size_t left = ZSTD_compressStream2(o->zstd, &out, &in, end);
                int r;

                if (ZSTD_isError(left))
                        return err_set(err, ERR_INTERNAL, "compress: %s", ZSTD_getErrorName(left));
                r = out.pos > 0 ? put(o->buffer, out.pos, o, err) : 0;
                if (r < 0 || (end == ZSTD_e_end ? left == 0 : in.pos == in.size))
                        return r;
        }
}

int archive_out_write(const void *data, size_t len, void *userdata, struct err *err) {
        struct archive_out *o = userdata;

        if (o->deflate)
                return deflate_run(o->deflate, data, len, err);
        return o->zstd ? run_zstd(o, data, len, ZSTD_e_continue, err) : put(data, len, o, err);
}

int archive_out_end(struct archive_out *o, struct err *err) {
        if (o->deflate)
                return deflate_end(o->deflate, err);
        return o->zstd ? run_zstd(o, NULL, 0, ZSTD_e_end, err) : 0;
}

struct archive_out *archive_out_free(struct archive_out *o) {
        if (!o)
                return NULL;
        (void) deflate_free(o->deflate);
        (void) ZSTD_freeCCtx(o->zstd);
        free(o->buffer);
        free(o);
        return NULL;
}
