/* SPDX-License-Identifier: Apache-2.0 */
/* deflate - compression of a layer or an archive that is made here, as gzip by ISA-L, which every reader has, or as
 * zstd with its checksum. The same bytes in give the same bytes out, on one machine. No I/O; one thread at a time.
 * Memory: half a MiB, of zstd some MiB. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/cleanup.h"
#include "base/err.h"

enum deflate_kind { DEFLATE_GZIP, DEFLATE_ZSTD };

struct deflate;

/* Takes what has been compressed. */
typedef int (*deflate_write_fn)(const void *data, size_t len, void *userdata, struct err *err);

struct deflate *deflate_new(enum deflate_kind kind, deflate_write_fn write, void *userdata);
_must_use_ int deflate_run(struct deflate *z, const void *data, size_t len, struct err *err);
_must_use_ int deflate_end(struct deflate *z, struct err *err); /* no more bytes */
struct deflate *deflate_free(struct deflate *z);                /* NULL ok */
DEFINE_CLEANUP(struct deflate *, deflate_free)
