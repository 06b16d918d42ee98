/* SPDX-License-Identifier: Apache-2.0 */
/* records - which images, names, layers and blobs exist, and who holds them. The store is the truth across restarts; an
 * index of it is kept in memory (ids, names, lists of layers and blobs, counts of holds). Layers and blobs that nobody
 * holds any more are removed from disk by the release of the last hold. Thread-safe. Private to image/.
 *
 * Order of locks: records, then the store. Removing a layer may take long and is done without the lock: the layer is
 * marked, and who wants to hold it waits until it is gone. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "image/content.h"
#include "image/image.h"
#include "image/layer.h"
#include "image/manifest.h"
#include "image/ref.h"

struct records;

/* Loads the index. @store, @layers and @content are borrowed. Records that can't be read are dropped with a warning:
 * images can be pulled again. */
_must_use_ int records_new(struct store *store, struct layers *layers, struct content *content, struct records **ret,
                           struct err *err);
struct records *records_free(struct records *r);
DEFINE_CLEANUP(struct records *, records_free)

/* Drops images whose layers are not on disk, then removes layers and blobs that nothing holds. */
_must_use_ int records_reconcile(struct records *r, struct err *err);

/* Holds: one release for each. The first hold of a layer waits while it is being removed. */
void records_hold_blob(struct records *r, const char *digest);
void records_release_blob(struct records *r, const char *digest);
/* The same after a failure: what nobody else holds becomes a part (content.h), which the next try may start from. */
void records_retire_blob(struct records *r, const char *digest);
/* Does anybody but the caller hold it, who does so once? */
bool records_blob_is_shared(struct records *r, const char *digest);
void records_hold_layer(struct records *r, const char *chain_id);
_must_use_ int records_release_layer(struct records *r, const char *chain_id, struct err *err);
/* Is the held layer complete on disk? */
bool records_layer_is_done(struct records *r, const char *chain_id);
/* The held layer is complete on disk and holds so much. */
void records_layer_done(struct records *r, const char *chain_id, uint64_t bytes, uint64_t inodes);

/* A layer that only images hold, and the caller once: nobody else gets a hold of it before the thaw. False: somebody
 * has one. */
_must_use_ bool records_freeze_layer(struct records *r, const char *chain_id);
void records_thaw_layer(struct records *r, const char *chain_id);

struct record_blob {
        const char *digest;
        uint64_t size; /* of a layer's, when the record was written: what is on disk counts */
        bool layer;    /* a cache, but for images that were made here; false in records of old: it stays */
};
struct image_record {
        const char *id;
        const struct record_blob *blobs;
        size_t n_blobs;
        const char *const *layers; /* chain ids, lowest first */
        size_t n_layers;
        const struct image_config *config;
        bool made; /* here: no registry is known that has it, so its layers' blobs are no cache. One that
                      is made again as what was pulled, or the other way round, stays made. */
        uint64_t pulled_s, used_s; /* as in struct image. The first by records_commit(), the second by
                                      records_note_use() */
};
/* Durable when it returns: the image, its layers, and @names (NULL-terminated full references), which move here from
 * other images. The caller holds the layers and blobs; the image takes holds of its own. It came now. */
_must_use_ int records_commit(struct records *r, const struct image_record *image, const char *const *names,
                              struct err *err);

/* As images_tag and images_untag. */
_must_use_ int records_tag(struct records *r, const char *ref, const char *const *names, struct err *err);
_must_use_ int records_untag(struct records *r, const char *const *names, struct err *err);

/* As images_get and images_list. */
_must_use_ int records_get(struct records *r, const char *ref, struct arena *arena, struct image **ret,
                           struct err *err);
_must_use_ int records_list(struct records *r, struct arena *arena, struct image ***ret, size_t *ret_n,
                            struct err *err);
_must_use_ int records_remove(struct records *r, const char *ref, struct err *err);
/* The digests of an image's blobs (indexes, manifests, config, layers as far as they are kept), NULL-terminated, each
 * with a hold for the caller to release. */
_must_use_ int records_hold_blobs(struct records *r, const char *ref, struct arena *arena, const char ***ret,
                                  struct err *err);
/* As images_hold. Waits while one of its layers is frozen. */
_must_use_ int records_hold_image(struct records *r, const char *id, struct arena *arena, const char ***ret,
                                  struct err *err);
/* A container or mount of it begins or ends: now, as records_hold_image() notes by itself. No disk is waited for:
 * records_write_uses() puts into the store what was noted. What a killed daemon had not written yet is a use forgotten;
 * an image that something uses needs none. Missing is fine. */
void records_note_use(struct records *r, const char *id);
_must_use_ int records_write_uses(struct records *r, struct err *err);
/* As images_prune. Each image is looked at and removed under the lock. A container that is just being made of one that
 * goes has its layers, or gets ERR_NOT_FOUND. */
_must_use_ int records_prune(struct records *r, const struct image_prune_args *args, struct arena *arena,
                             struct image ***ret, size_t *ret_n, struct err *err);
/* What pulls that failed left, then layers' blobs that come from a registry and that nothing but images holds, those of
 * the images least recently used first, until @want_bytes are free. @dry_run: only counts them. */
struct records_dropped {
        size_t n;
        uint64_t bytes;
};
_must_use_ int records_drop_blobs(struct records *r, uint64_t want_bytes, bool dry_run, struct records_dropped *ret,
                                  struct err *err);
/* A layer's blob has come or gone without the record of an image being written. The caller holds it. */
void records_recount_blob(struct records *r, const char *digest);
/* As images_df, but for writable layers. */
_must_use_ int records_df(struct records *r, struct arena *arena, struct image_df *ret, struct err *err);
/* Sums over layers and blobs. */
void records_usage(struct records *r, uint64_t *ret_bytes, uint64_t *ret_inodes);
