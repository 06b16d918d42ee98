/* SPDX-License-Identifier: Apache-2.0 */
/* unpack-pax - extended headers of tar archives, and the numbers of tar headers. No I/O. Private to unpack-tar. */
#pragma once
#include <stdbool.h>
#include "image/unpack-tar.h"

struct tar_extent {
        uint64_t offset, len;
};

/* The map of a sparse file. */
struct tar_map {
        struct tar_extent *extents;
        size_t len, cap;
};
/* Raises ERR_INVALID past TAR_MAX_EXTENTS. */
_must_use_ int tar_map_add(struct tar_map *m, uint64_t offset, uint64_t len, struct err *err);
/* In order, without overlap, within @size, @stored bytes in all? */
_must_use_ int tar_map_check(const struct tar_map *m, uint64_t size, uint64_t stored, struct err *err);

/* What an extended header said; strings point into its body, NULL: nothing said. */
struct pax {
        const char *path, *linkpath;
        bool has_size, has_uid, has_gid, has_mtime;
        uint64_t size;
        uint32_t uid, gid;
        int64_t mtime;
        uint32_t mtime_ns;
        struct tar_xattr *xattrs;
        size_t n_xattrs, cap_xattrs;
        struct {
                bool any;     /* any GNU.sparse record */
                bool in_data; /* format 1.0: the map stands before the data */
                bool has_size, has_offset;
                uint64_t size, offset;
                const char *name;
                unsigned major, minor;
                struct tar_map map;
        } sparse;
};

/* Takes the records of @body (@len bytes and a NUL behind them), which is changed: strings are ended in place. */
_must_use_ int pax_parse(struct pax *p, char *body, size_t len, struct err *err);
void pax_done(struct pax *p); /* as new again */

/* A number field of a header: octal, or base-256 when its first bit is set. False when it is neither or does not fit.
 */
_must_use_ bool tar_number(const uint8_t *field, size_t len, int64_t *ret);
