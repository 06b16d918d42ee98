/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/archive-out.h"

#include <errno.h>
#include <unistd.h>
#include "base/alloc.h"
#include "cli/cli.h"
#include "image/deflate.h"

struct archive_out {
        int fd;
        struct deflate *deflate; /* NULL: as it comes */
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
        if (how != ARCHIVE_PLAIN)
                o->deflate = deflate_new(how == ARCHIVE_ZSTD ? DEFLATE_ZSTD : DEFLATE_GZIP, put, o);
        return o;
}

int archive_out_write(const void *data, size_t len, void *userdata, struct err *err) {
        struct archive_out *o = userdata;

        return o->deflate ? deflate_run(o->deflate, data, len, err) : put(data, len, o, err);
}

int archive_out_end(struct archive_out *o, struct err *err) {
        return o->deflate ? deflate_end(o->deflate, err) : 0;
}

struct archive_out *archive_out_free(struct archive_out *o) {
        if (!o)
                return NULL;
        (void) deflate_free(o->deflate);
        free(o);
        return NULL;
}
