/* SPDX-License-Identifier: Apache-2.0 */
/* assembly - an image from its documents to its record: holds on blobs and layers, the layers unpacked by pull_layers()
 * in between, one durable transaction. What a pull and what is made here (adopt.h) have in common. Private to image/;
 * one thread at a time.
 *
 * Everything that is put on disk is held until assembly_let_go(); when it failed the holds go, and so does all that
 * nobody else wants. */
#pragma once
#include "image/pull.h"

enum { ASSEMBLY_DOCUMENTS_MAX = INDEX_DEPTH_MAX + 2 }; /* indexes, manifest, config */

struct assembly {
        const struct pull_env *env;
        struct arena *arena;
        bool made;                       /* here: its layers' blobs come from nowhere else */
        const struct platform *platform; /* that the image is to be for; this machine's, unless said otherwise */
        struct record_blob *blobs;       /* held: indexes, manifest, config; then the layers' */
        size_t n_blobs;
        struct manifest manifest;   /* these two by the caller, before assembly_plan() */
        struct image_config config; /* parsed */
        struct pull_layer *layers;
        size_t n_layers; /* held */
};

void assembly_init(struct assembly *a, const struct pull_env *env, struct arena *arena);
/* Holds a document, and keeps it: as content_put(). */
_must_use_ int assembly_keep(struct assembly *a, const char *digest, const char *data, size_t len, struct err *err);
/* Do manifest and config fit each other, and the platform? Then chain ids, and holds on layers and their blobs. */
_must_use_ int assembly_plan(struct assembly *a, struct err *err);
/* All layers are there: the record, and @names, as records_commit() takes them. */
_must_use_ int assembly_commit(struct assembly *a, const char *const *names, struct err *err);
void assembly_let_go(struct assembly *a, bool failed);
