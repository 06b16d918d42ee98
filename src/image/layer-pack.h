/* SPDX-License-Identifier: Apache-2.0 */
/* layer-pack - a layer's blob out of a tar archive that is being made: hashed, compressed, hashed again, written into
 * the content store. One thread at a time. Private to image/. */
#pragma once
#include "image/content.h"
#include "image/ref.h"

struct layer_pack;

struct packed_layer {
        const char *media_type; /* OCI's */
        char diff_id[DIGEST_LEN + 1], digest[DIGEST_LEN + 1];
        uint64_t size, tar_size; /* of the blob, and of the archive */
};

/* Compressed as gzip, or with @zstd. */
_must_use_ int layer_pack_new(struct content *c, bool zstd, struct layer_pack **ret, struct err *err);
/* Its userdata is the struct layer_pack: the archive's next bytes. */
_must_use_ int layer_pack_write(const void *data, size_t len, void *userdata, struct err *err);
/* No more bytes. */
_must_use_ int layer_pack_end(struct layer_pack *p, struct packed_layer *ret, struct err *err);
/* On disk under its name; the caller holds its digest. */
_must_use_ int layer_pack_commit(struct layer_pack *p, struct err *err);
struct layer_pack *layer_pack_free(struct layer_pack *p); /* NULL ok */
DEFINE_CLEANUP(struct layer_pack *, layer_pack_free)
