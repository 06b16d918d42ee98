/* SPDX-License-Identifier: Apache-2.0 */
/* content - manifests and configs on disk: blobs/sha256/HEX, written under a temporary name, synced, renamed; read back
 * with their digest checked. Layers' blobs are never kept: they are unpacked as they arrive. Thread-safe. Private to
 * image/. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"

struct content;

/* Makes @root/blobs/sha256. */
_must_use_ int content_new(const char *root, struct content **ret, struct err *err);
struct content *content_free(struct content *c);
DEFINE_CLEANUP(struct content *, content_free)

/* @digest is what @data must have: ERR_DATA_LOSS when it does not. One that is there already is left alone. */
_must_use_ int content_put(struct content *c, const char *digest, const void *data, size_t len, struct err *err);
/* False when it is missing, larger than @max, or damaged (then it is removed, so that it is fetched anew). */
_must_use_ bool content_read(struct content *c, const char *digest, size_t max, char **ret, size_t *ret_len);
_must_use_ int content_remove(struct content *c, const char *digest, struct err *err); /* missing is fine */
/* Removes all but those that @keep answers true for, half-written ones too. */
_must_use_ int content_sweep(struct content *c, bool (*keep)(const char *digest, void *userdata), void *userdata,
                             struct err *err);
