/* SPDX-License-Identifier: Apache-2.0 */
/* deflate - compression of a layer that is made here, as gzip by ISA-L: what every reader has. The same bytes in give
 * the same bytes out, on one machine. No I/O; one thread at a time. Memory: half a MiB. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/cleanup.h"
#include "base/err.h"

struct deflate;

/* Takes what has been compressed. */
typedef int (*deflate_write_fn)(const void *data, size_t len, void *userdata, struct err *err);

struct deflate *deflate_new(deflate_write_fn write, void *userdata);
_must_use_ int deflate_run(struct deflate *z, const void *data, size_t len, struct err *err);
_must_use_ int deflate_end(struct deflate *z, struct err *err); /* no more bytes */
struct deflate *deflate_free(struct deflate *z);                /* NULL ok */
DEFINE_CLEANUP(struct deflate *, deflate_free)
