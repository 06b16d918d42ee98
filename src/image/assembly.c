/* SPDX-License-Identifier: Apache-2.0 */
#include "image/assembly.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/str.h"

void assembly_init(struct assembly *a, const struct pull_env *env, struct arena *arena) {
        *a = (struct assembly){ .env = env, .arena = arena, .platform = platform_host() };
        a->blobs = arena_array(arena, struct record_blob, ASSEMBLY_DOCUMENTS_MAX);
}

int assembly_keep(struct assembly *a, const char *digest, const char *data, size_t len, struct err *err) {
        assert(a->n_blobs < ASSEMBLY_DOCUMENTS_MAX);
        records_hold_blob(a->env->records, digest);
        a->blobs[a->n_blobs++] = (struct record_blob){ .digest = arena_strdup(a->arena, digest), .size = len };
        return content_put(a->env->content, digest, data, len, err);
}

static int check_config(const struct assembly *a, struct err *err) {
        const struct platform *wanted = a->platform, *image = &a->config.platform;

        if (!platform_runs(image, wanted))
                return err_set(err, ERR_NOT_FOUND, "no image for %.50s/%.50s: it is for %.30s/%.30s", wanted->os,
                               wanted->arch, image->os, image->arch);
        if (a->config.n_diff_ids != a->manifest.n_layers)
                return err_set(err, ERR_INVALID, "the config has %zu layers, the manifest %zu", a->config.n_diff_ids,
                               a->manifest.n_layers);
        return 0;
}

/* A layer's blob, which may come to be kept. */
static void hold_layer_blob(struct assembly *a, const struct descriptor *d) {
        for (size_t i = 0; i < a->n_blobs; i++)
                if (str_eq(a->blobs[i].digest, d->digest))
                        return;
        records_hold_blob(a->env->records, d->digest);
        a->blobs[a->n_blobs++] = (struct record_blob){ .digest = d->digest, .layer = true };
}

int assembly_plan(struct assembly *a, struct err *err) {
        char text[2 * DIGEST_LEN + 2];
        size_t n = a->manifest.n_layers;
        const struct record_blob *documents = a->blobs;
        int r = check_config(a, err);

        if (r < 0)
                return r;
        a->blobs = arena_array(a->arena, struct record_blob, a->n_blobs + n);
        memcpy(a->blobs, documents, a->n_blobs * sizeof(*a->blobs));
        a->layers = arena_array(a->arena, struct pull_layer, n + 1);
        for (size_t i = 0; i < n; i++) {
                struct pull_layer *l = &a->layers[i];

                l->blob = &a->manifest.layers[i];
                l->diff_id = a->config.diff_ids[i];
                if (i == 0) {
                        (void) snprintf(l->chain_id, sizeof(l->chain_id), "%s", l->diff_id);
                } else {
                        (void) snprintf(text, sizeof(text), "%s %s", a->layers[i - 1].chain_id, l->diff_id);
                        digest_of(text, strlen(text), l->chain_id);
                }
                records_hold_layer(a->env->records, l->chain_id);
                a->n_layers++;
                hold_layer_blob(a, l->blob);
        }
        return 0;
}

int assembly_commit(struct assembly *a, const char *const *names, struct err *err) {
        const char **layers = arena_array(a->arena, const char *, a->n_layers + 1);
        const struct image_record record = { .id = a->manifest.config.digest,
                                             .blobs = a->blobs,
                                             .n_blobs = a->n_blobs,
                                             .layers = layers,
                                             .n_layers = a->n_layers,
                                             .config = &a->config,
                                             .made = a->made };

        for (size_t i = 0; i < a->n_layers; i++)
                layers[i] = a->layers[i].chain_id;
        for (size_t i = 0; i < a->n_blobs; i++)
                for (size_t k = 0; k < a->n_layers && !a->blobs[i].size; k++)
                        if (str_eq(a->layers[k].blob->digest, a->blobs[i].digest) &&
                            content_has(a->env->content, a->blobs[i].digest, a->layers[k].blob->size))
                                a->blobs[i].size = a->layers[k].blob->size;
        return records_commit(a->env->records, &record, names, err);
}

/* What fails to be removed is a matter for the log: who let go has an outcome of its own. */
void assembly_let_go(struct assembly *a, bool failed) {
        struct err err;

        for (size_t i = a->n_layers; i-- > 0;)
                if (records_release_layer(a->env->records, a->layers[i].chain_id, &err) < 0)
                        log_warn("a layer stays behind until the next start", "layer", a->layers[i].chain_id, "error",
                                 err.msg, NULL);
        for (size_t i = 0; i < a->n_blobs; i++)
                (failed && !a->made ? records_retire_blob : records_release_blob)(a->env->records, a->blobs[i].digest);
}
