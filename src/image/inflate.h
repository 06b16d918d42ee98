/* SPDX-License-Identifier: Apache-2.0 */
/* inflate - decompression of a layer's blob as it arrives: gzip (ISA-L; any number of members, zero padding behind
 * them), zstd (any number of frames, skippable ones too) or none. No I/O; one thread at a time. Memory: some 100 KiB
 * for gzip; for zstd the window that the blob asks for, at most 128 MiB as the zstd tools allow, usually up to 8 MiB.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/err.h"

enum inflate_kind { INFLATE_NONE, INFLATE_GZIP, INFLATE_ZSTD };

struct inflate;

/* The compression that a layer's media type names. False when it is no layer's. */
_must_use_ bool inflate_kind_of(const char *media_type, enum inflate_kind *ret);
/* The compression of data that begins like this; @ret_foreign: the program for one that can't be read here, else NULL.
 */
enum inflate_kind inflate_kind_of_data(const uint8_t *data, size_t len, const char **ret_foreign);
/* ERR_UNIMPLEMENTED: it is compressed with that one. */
_must_use_ int inflate_refuse_foreign(const char *foreign, struct err *err);

struct inflate *inflate_new(enum inflate_kind kind);
struct inflate *inflate_free(struct inflate *z); /* NULL ok */
DEFINE_CLEANUP(struct inflate *, inflate_free)

/* Decompress from @in into @out; both are advanced. Call again while @in has bytes or @out was filled to its end.
 * ERR_INVALID when the bytes are not of the kind. */
struct inflate_in {
        const uint8_t *data;
        size_t len;
};
struct inflate_out {
        uint8_t *data;
        size_t len; /* room */
};
_must_use_ int inflate_run(struct inflate *z, struct inflate_in *in, struct inflate_out *out, struct err *err);
/* No more bytes: was the last member complete? */
_must_use_ int inflate_end(struct inflate *z, struct err *err);
