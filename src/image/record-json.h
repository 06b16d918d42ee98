/* SPDX-License-Identifier: Apache-2.0 */
/* record-json - how image, layer and snapshot records look in the store. Private to records. */
#pragma once
#include "base/id-map.h"
#include "image/json.h"
#include "image/records.h"

enum {
        RECORD_BLOBS_MAX = 1000, /* what an image's record may name */
        /* What a snapshot's may in one list, with all its image volumes. Both lists fit an arena of 1 MiB. */
        RECORD_CHAINS_MAX = 8000,
};

/* @ret: caller frees. */
void record_encode(const struct image_record *image, char **ret, size_t *ret_len);
/* Layers, blobs and config of an image; @ret_config may be NULL. What it gives lives in @arena. */
_must_use_ int record_decode(const void *value, size_t len, struct arena *arena, struct image_record *ret,
                             struct image_config *ret_config, struct err *err);
/* The record @value with another time of use; @ret: caller frees. */
_must_use_ int record_set_used(const void *value, size_t len, uint64_t used_s, char **ret, size_t *ret_len,
                               struct err *err);
void record_encode_layer(uint64_t bytes, uint64_t inodes, char out[80]);
_must_use_ int record_decode_layer(const void *value, size_t len, uint64_t *ret_bytes, uint64_t *ret_inodes,
                                   struct err *err);
/* A list of chain ids in a snapshot's record, NULL-terminated; only "volumes" may be missing. ERR_EXHAUSTED: @arena is
 * too small. */
_must_use_ int record_snapshot_list(const json_t *o, const char *name, struct arena *arena, const char ***ret,
                                    struct err *err);
/* Its "uids" and "gids"; NULL: neither is there. */
void record_put_owners(json_t *o, const struct id_maps *owners);
_must_use_ int record_get_owners(const json_t *o, struct arena *arena, const struct id_maps **ret, struct err *err);
/* Both lists of it. */
_must_use_ int record_decode_snapshot(const void *value, size_t len, struct arena *arena, const char ***ret_layers,
                                      const char ***ret_volumes, struct err *err);
