/* SPDX-License-Identifier: Apache-2.0 */
/* local - of an image that is here: its manifest, its name. Private to image/. */
#pragma once
#include "image/content.h"
#include "image/image.h"
#include "image/manifest.h"

struct local_manifest {
        const char *digest, *raw; /* the document as it came, its digest being that of @raw */
        size_t len;
        struct manifest manifest;
};
/* That of image @id among its @blobs (records_hold_blobs()), all in @arena; of several, as of an image that was
 * compressed twice, the first. ERR_DATA_LOSS: it is missing or damaged. */
_must_use_ int local_manifest(struct content *c, const char *id, const char *const *blobs, struct arena *arena,
                              struct local_manifest *ret, struct err *err);
/* The tag by which it was asked for as @ref; NULL: by an id or a digest. */
const char *local_tag(const struct image *image, const char *ref, struct arena *arena);
