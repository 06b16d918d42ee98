/* SPDX-License-Identifier: Apache-2.0 */
/* tar-write - headers of entries in tar archives. What ustar can't hold is said in GNU's way where that is older than
 * pax (sizes of plain files), else in extended headers (pax): what unpack-tar.h reads, and GNU tar, bsdtar, Go and
 * Python. The same input gives the same bytes. No I/O; thread-safe. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/strbuf.h"
#include "image/unpack-tar.h"

enum { TAR_BLOCK_BYTES = 512, TAR_WRITE_NAME_MAX = 99 };

/* A file that is root's and readable by all, of 1970. @name: at most TAR_WRITE_NAME_MAX bytes, our own. */
void tar_write_header(const char *name, uint64_t size, uint8_t out[TAR_BLOCK_BYTES]);

struct tar_extent;

/* All that stands before the data of @e, whatever it is, is appended to @out: an extended header, where one is needed,
 * the header and, of a sparse file, the map: @map holds @n_map pieces in ascending order, which are stored_size bytes
 * together; where the file ends with a hole, the last one is empty and at its end. Data follows (stored_size bytes),
 * then tar_write_padding(stored_size) zeros. ERR_INVALID: a name above TAR_MAX_NAME, attributes above TAR_MAX_PAX
 * together. */
_must_use_ int tar_write_entry(const struct tar_entry *e, const struct tar_extent *map, size_t n_map,
                               struct strbuf *out, struct err *err);

/* How many zeros follow so many bytes of a file. */
static inline size_t tar_write_padding(uint64_t size) {
        return (size_t) (-size & (TAR_BLOCK_BYTES - 1));
}
