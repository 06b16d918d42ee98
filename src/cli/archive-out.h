/* SPDX-License-Identifier: Apache-2.0 */
/* archive-out - bytes of an archive, compressed or not, into a file or pipe. The same bytes in give the same bytes out.
 */
#pragma once
#include "base/cleanup.h"
#include "base/err.h"

enum archive_compression { ARCHIVE_PLAIN, ARCHIVE_GZIP, ARCHIVE_ZSTD };

struct archive_out;

struct archive_out *archive_out_new(int fd, enum archive_compression how); /* @fd: borrowed */
/* Its userdata is the struct archive_out. ERR_CANCELLED: the user has interrupted us. */
_must_use_ int archive_out_write(const void *data, size_t len, void *userdata, struct err *err);
_must_use_ int archive_out_end(struct archive_out *o, struct err *err);
struct archive_out *archive_out_free(struct archive_out *o); /* NULL ok */
DEFINE_CLEANUP(struct archive_out *, archive_out_free)
