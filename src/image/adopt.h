/* SPDX-License-Identifier: Apache-2.0 */
/* adopt - an image from blobs that are here, as whatever makes one on this machine ends: manifest, config, layers
 * unpacked from their blobs, one durable record. Nothing of it is seen before; a crash leaves only what a start
 * removes. When the disk is full the collector is asked for room, once. Blocks; thread-safe. Private to image/. */
#pragma once
#include "image/pull.h"

struct adopt_args {
        /* The digest of its manifest, OCI's or Docker's schema 2, no index. The manifest, the config and every layer's
         * blob are in the content store, checked, on disk (content_writer_commit()'s durable), and held by the caller
         * (records_hold_blob()), who releases them afterwards, whatever came of it: the image has holds of its own. */
        const char *manifest;
        const char *const *names; /* full references with a tag (ref_string()), NULL-terminated; they move here from
                                     other images. NULL: none */
        const struct platform *platform; /* that it is to be for; NULL: this machine's */
        int cancel_fd;                   /* readable: stop, ERR_CANCELLED */
        /* As image_pull_args, of the layers' unpacking. May be NULL. */
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
};
/* @ret_id in @arena, which must allow PULL_ARENA_MAX. The image is marked as made here: its layers' blobs stay as long
 * as it does. ERR_NOT_FOUND: it is for another platform; ERR_INVALID, ERR_DATA_LOSS: its parts don't fit each other;
 * ERR_PRECONDITION: a blob is not here. */
_must_use_ int adopt_run(const struct pull_env *env, const struct adopt_args *args, struct arena *arena,
                         const char **ret_id, struct err *err);
