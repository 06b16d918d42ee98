/* SPDX-License-Identifier: Apache-2.0 */
/* pull - one pull from reference to committed image, on the thread that calls; layers on threads of their own.
 * Private to image/; flights.h is what shares a pull among its callers.
 *
 * What a pull puts on disk it holds (records.h) until it ends; when it fails the holds go, and so does all that it
 * brought and nobody else wants. A layer that several pulls want at once is downloaded by the first of them (claims);
 * the others wait for it, and take over when it fails there. No circle can come of it: layers are claimed and finished
 * lowest first, and finishing one waits only for those below it. */
#pragma once
#include "image/claims.h"
#include "image/content.h"
#include "image/image.h"
#include "image/layer.h"
#include "image/policy.h"
#include "image/records.h"
#include "image/registry.h"

struct collector;

struct pull_env {
        struct layers *layers;
        struct content *content;
        struct records *records;
        struct registries *registries;
        struct claims *claims;
        struct collector *collector;
        const char *signature_policy; /* NULL: none */
        bool signature_policy_optional;
        uint64_t max_layer_bytes, max_layer_entries;
        unsigned max_parallel_layers;
        bool keep_blobs; /* of layers */
};

struct pull_args {
        const struct ref *ref;
        const struct credentials *creds;
        int cancel_fd; /* readable: stop, ERR_CANCELLED */
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
        struct image_verdict *only_check; /* go no further than the signature policy; NULL: pull */
};
/* @ret_id in @arena, which is the pull's and must allow PULL_ARENA_MAX. */
enum { PULL_ARENA_MAX = 64 * 1024 * 1024 + POLICY_ARENA_MAX };
_must_use_ int pull_run(const struct pull_env *env, const struct pull_args *args, struct arena *arena,
                        const char **ret_id, struct err *err);

/* pull-layers.c */
struct pull_layer {
        const struct descriptor *blob;
        const char *diff_id;
        char chain_id[DIGEST_LEN + 1];
};
/* Brings all @layers, lowest first in the array, which the caller holds. On a full disk layers count more than blobs:
 * then none of theirs is kept, and where they may fit without them they are brought anew. */
_must_use_ int pull_layers(const struct pull_env *env, const struct pull_args *args, struct source *source,
                           const struct pull_layer *layers, size_t n, struct err *err);
/* @full: why a pull failed. Is it a full disk, and are blobs kept besides the layers? Then those of @layers are gone
 * that nobody else holds. */
bool pull_gives_back_blobs(const struct pull_env *env, const struct pull_layer *layers, size_t n,
                           const struct err *full);
/* One of them into a sink of its own, complete but in no place yet: from its kept blob, else from @source (NULL: then
 * ERR_NOT_FOUND). The caller has the claim on it, and frees the sink. */
_must_use_ int pull_layer(const struct pull_env *env, const struct pull_args *args, struct source *source,
                          const struct pull_layer *layer, struct layer_sink **ret, struct err *err);
