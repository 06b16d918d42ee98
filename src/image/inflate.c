/* SPDX-License-Identifier: Apache-2.0 */
#include "image/inflate.h"

#include <isa-l/igzip_lib.h>
#include <limits.h>
#include <string.h>
#include <zstd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/avx.h"

struct inflate {
        enum inflate_kind kind;
        bool inside;  /* a member or frame has begun and is not complete */
        bool any;     /* one was complete */
        bool padding; /* zeros behind the last member: nothing else may come */
        ZSTD_DStream *zstd;
        struct inflate_state gzip;
};

bool inflate_kind_of(const char *media_type, enum inflate_kind *ret) {
        static const struct {
                const char *start;
                bool docker;
        } types[] = {
                { "application/vnd.oci.image.layer.v1.tar", false },
                { "application/vnd.oci.image.layer.nondistributable.v1.tar", false },
                { "application/vnd.docker.image.rootfs.diff.tar", true },
                { "application/vnd.docker.image.rootfs.foreign.diff.tar", true },
        };

        for (size_t i = 0; i < ELEMENTSOF(types); i++) {
                const char *rest = str_after(media_type, types[i].start);

                if (!rest)
                        continue;
                if (str_eq(rest, ""))
                        *ret = INFLATE_NONE;
                else if (str_eq(rest, types[i].docker ? ".gzip" : "+gzip"))
                        *ret = INFLATE_GZIP;
                else if (str_eq(rest, types[i].docker ? ".zstd" : "+zstd"))
                        *ret = INFLATE_ZSTD;
                else
                        return false;
                return true;
        }
        return false;
}

enum inflate_kind inflate_kind_of_data(const uint8_t *data, size_t len, const char **ret_foreign) {
        static const uint8_t gzip[] = { 0x1f, 0x8b }, zstd[] = { 0x28, 0xb5, 0x2f, 0xfd },
                             skippable[] = { 0x2a, 0x4d, 0x18 }, /* behind 0x50 to 0x5f; pzstd begins with one */
                xz[] = { 0xfd, '7', 'z', 'X', 'Z', 0 }, bzip2[] = { 'B', 'Z', 'h' };

        *ret_foreign = NULL;
        if (len >= sizeof(gzip) && memcmp(data, gzip, sizeof(gzip)) == 0)
                return INFLATE_GZIP;
        if (len >= sizeof(zstd) && (memcmp(data, zstd, sizeof(zstd)) == 0 ||
                                    (data[0] >> 4 == 5 && memcmp(data + 1, skippable, sizeof(skippable)) == 0)))
                return INFLATE_ZSTD;
        if (len >= sizeof(xz) && memcmp(data, xz, sizeof(xz)) == 0)
                *ret_foreign = "xz";
        if (len >= sizeof(bzip2) && memcmp(data, bzip2, sizeof(bzip2)) == 0)
                *ret_foreign = "bzip2";
        return INFLATE_NONE;
}

int inflate_refuse_foreign(const char *foreign, struct err *err) {
        return err_set(err, ERR_UNIMPLEMENTED,
                       "it is compressed with %s; gzip and zstd are taken: decompress it first (%s -dc FILE | ...)",
                       foreign, foreign);
}

struct inflate *inflate_new(enum inflate_kind kind) {
        struct inflate *z = xnew(struct inflate);

        z->kind = kind;
        if (kind == INFLATE_ZSTD) {
                z->zstd = ZSTD_createDStream();
                if (!z->zstd)
                        abort();
        }
        return z;
}

struct inflate *inflate_free(struct inflate *z) {
        if (!z)
                return NULL;
        (void) ZSTD_freeDStream(z->zstd);
        free(z);
        return NULL;
}

static int skip_padding(struct inflate *z, struct inflate_in *in, struct err *err) {
        for (; in->len; in->data++, in->len--)
                if (*in->data)
                        return err_set(err, ERR_INVALID, "something stands behind the gzip data");
        z->padding = true;
        return 0;
}

static int run_gzip(struct inflate *z, struct inflate_in *in, struct inflate_out *out, struct err *err) {
        struct inflate_state *s = &z->gzip;
        uint32_t avail_in = (uint32_t) MIN_OF(in->len, (size_t) INT_MAX);
        uint32_t avail_out = (uint32_t) MIN_OF(out->len, (size_t) INT_MAX);
        int r;

        if (!z->inside) {
                if (in->len == 0)
                        return 0;
                if (z->padding || (z->any && *in->data == 0))
                        return skip_padding(z, in, err);
                if (z->any)
                        isal_inflate_reset(s);
                else
                        isal_inflate_init(s);
                s->crc_flag = ISAL_GZIP;
                z->inside = true;
        }
        s->next_in = (uint8_t *) (uintptr_t) in->data; /* not written to */
        s->avail_in = avail_in;
        s->next_out = out->data;
        s->avail_out = avail_out;
        r = isal_inflate(s);
        avx_clear_upper_halves();
        if (r != ISAL_DECOMP_OK)
                return err_set(err, ERR_INVALID,
                               r == ISAL_INCORRECT_CHECKSUM ? "gzip data with a wrong checksum"
                               : r == ISAL_INVALID_WRAPPER || r == ISAL_UNSUPPORTED_METHOD
                                       ? "no gzip data, though its media type says so"
                                       : "damaged gzip data");
        in->data += avail_in - s->avail_in;
        in->len -= avail_in - s->avail_in;
        out->data += avail_out - s->avail_out;
        out->len -= avail_out - s->avail_out;
        if (s->block_state == ISAL_BLOCK_FINISH) {
                z->inside = false;
                z->any = true;
        }
        return 0;
}

static int run_zstd(struct inflate *z, struct inflate_in *in, struct inflate_out *out, struct err *err) {
        ZSTD_inBuffer from = { in->data, in->len, 0 };
        ZSTD_outBuffer to = { out->data, out->len, 0 };
        size_t r;

        if (!z->inside && in->len == 0)
                return 0;
        r = ZSTD_decompressStream(z->zstd, &to, &from);
        if (ZSTD_isError(r))
                return err_set(err, ERR_INVALID, "zstd data: %s", ZSTD_getErrorName(r));
        in->data += from.pos;
        in->len -= from.pos;
        out->data += to.pos;
        out->len -= to.pos;
        z->inside = r != 0;
        z->any = z->any || r == 0;
        return 0;
}

int inflate_run(struct inflate *z, struct inflate_in *in, struct inflate_out *out, struct err *err) {
        size_t n;

        switch (z->kind) {
        case INFLATE_GZIP:
                return run_gzip(z, in, out, err);
        case INFLATE_ZSTD:
                return run_zstd(z, in, out, err);
        default:
                n = MIN_OF(in->len, out->len);
                if (n)
                        memcpy(out->data, in->data, n);
                in->data += n;
                in->len -= n;
                out->data += n;
                out->len -= n;
                return 0;
        }
}

int inflate_end(struct inflate *z, struct err *err) {
        if (z->kind != INFLATE_NONE && (z->inside || !z->any))
                return err_set(err, ERR_INVALID, "compressed data is cut off");
        return 0;
}
