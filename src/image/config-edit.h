/* SPDX-License-Identifier: Apache-2.0 */
/* config-edit - the config and the manifest of an image that is made of another one: bytes in, bytes out. A config
 * stays byte for byte what it was, but for what is changed. No I/O; thread-safe. Private to image/. */
#pragma once
#include "image/image.h"
#include "image/manifest.h"

struct config_edit {
        const struct image_change *changes;
        size_t n_changes;
        uint64_t now_ns;        /* CLOCK_REALTIME: created */
        const char *created_by; /* of the entry in the history */
        const char *author;     /* of that, and of the image; NULL: as it was */
        const char *comment;    /* of that; NULL: none */
        const char *diff_id;    /* of a new layer on top; NULL: there is none */
};
/* @data: as config_parse() takes it. ERR_INVALID says which change is none; ERR_EXHAUSTED past the limits on configs.
 */
_must_use_ int config_edit(const char *data, size_t len, const struct config_edit *edit, struct arena *arena,
                           const char **ret, size_t *ret_len, struct err *err);

struct manifest_edit {
        const struct image_change *changes; /* annotations; a Docker manifest, which has none, becomes OCI's */
        size_t n_changes;
        const char *config_digest;
        uint64_t config_size;
        const struct descriptor *layer; /* one more on top, gzip or zstd as its media type says; NULL: none */
};
/* @data: as manifest_parse() takes it, no index. */
_must_use_ int manifest_edit(const char *data, size_t len, const struct manifest_edit *edit, struct arena *arena,
                             const char **ret, size_t *ret_len, struct err *err);
