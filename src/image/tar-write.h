/* SPDX-License-Identifier: Apache-2.0 */
/* tar-write - headers of plain files in tar archives: ustar, with GNU's base-256 number for a size that octal digits
 * can't hold. The same input gives the same bytes. No I/O; thread-safe. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { TAR_BLOCK_BYTES = 512, TAR_WRITE_NAME_MAX = 99 };

/* A file that is root's and readable by all, of 1970. @name: at most TAR_WRITE_NAME_MAX bytes, our own. */
void tar_write_header(const char *name, uint64_t size, uint8_t out[TAR_BLOCK_BYTES]);
/* How many zeros follow so many bytes of a file. */
static inline size_t tar_write_padding(uint64_t size) {
        return (size_t) (-size & (TAR_BLOCK_BYTES - 1));
}
