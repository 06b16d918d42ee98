/* SPDX-License-Identifier: Apache-2.0 */
/* unpack - a tar archive, byte by byte, into a folder that becomes an overlay lower folder: whiteouts and opaque marks
 * in overlay's form. Nothing in the archive reaches outside the folder, whatever names and links it holds; nobody else
 * may change the folder meanwhile. One thread at a time; its umask must be 0 (modes are given at creation). What
 * depends on the layers below is kept for layer-settle. Private to image/. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/err.h"
#include "base/map.h"
#include "base/strbuf.h"

struct unpack;

/* @root_fd: the empty folder, mode 0755; borrowed until the end. */
_must_use_ int unpack_new(int root_fd, uint64_t max_entries, struct unpack **ret, struct err *err);
struct unpack *unpack_free(struct unpack *u); /* NULL ok; leaves what was unpacked */
DEFINE_CLEANUP(struct unpack *, unpack_free)
/* ERR_INVALID: hostile or malformed; ERR_EXHAUSTED: limits, full disk. */
_must_use_ int unpack_write(struct unpack *u, const void *data, size_t len, struct err *err);
_must_use_ int unpack_end(struct unpack *u, struct err *err);

/* What can't be settled without the layers below. All paths are clean and free of symlinks within this layer. */
struct unpack_rest {
        struct map *implicit;    /* set of folders that were made without an entry of their own */
        bool root_is_implicit;   /* the root had no entry */
        struct strbuf whiteouts; /* "path\0" each: may hide nothing */
        struct strbuf links;     /* "path\0target\0" each: hardlinks whose target is not in this layer; in order */
        bool any_opaque;         /* some folder is marked opaque */
        bool root_opaque;        /* all that is below is hidden; overlay has no mark for it at the root */
        uint64_t bytes, inodes;  /* what the layer holds on disk, about */
        size_t implicit_bytes;   /* memory that implicit takes, about */
};
struct unpack_rest *unpack_get_rest(struct unpack *u); /* borrowed; the receiver may change it */
