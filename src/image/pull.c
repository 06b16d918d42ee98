/* SPDX-License-Identifier: Apache-2.0 */
#include "image/pull.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "image/manifest.h"
#include "image/trust.h"

enum { DOCUMENTS_MAX = INDEX_DEPTH_MAX + 2 }; /* indexes, manifest, config */

struct pull {
        const struct pull_env *env;
        const struct pull_args *args;
        struct arena *arena;
        struct source *source;
        struct trust trust;
        const char *top_digest;    /* of what the reference led to: an index or a manifest */
        struct record_blob *blobs; /* held: indexes, manifest, config; then the layers' */
        size_t n_blobs;
        struct manifest manifest;
        struct image_config config;
        struct pull_layer *layers;
        size_t n_held_layers;
};

static int keep_blob(struct pull *p, const char *digest, const char *data, size_t len, struct err *err) {
        assert(p->n_blobs < DOCUMENTS_MAX);
        records_hold_blob(p->env->records, digest);
        p->blobs[p->n_blobs++] = (struct record_blob){ arena_strdup(p->arena, digest), len };
        return content_put(p->env->content, digest, data, len, err);
}

/* The manifest by digest: from disk, else from the registry. */
static int get_child(struct pull *p, const struct descriptor *d, struct strbuf *ret_body, const char **ret_type,
                     struct err *err) {
        char *data;
        size_t len;
        int r;

        if (content_read(p->env->content, d->digest, MANIFEST_BYTES_MAX, &data, &len)) {
                *ret_body = (struct strbuf){ .data = data, .len = len, .cap = len + 1, .max = len };
                *ret_type = d->media_type;
                return 0;
        }
        r = source_get_manifest(p->source, d->digest, p->arena, ret_body, ret_type, err);
        if (r == 0 && d->size != ret_body->len)
                r = err_set(err, ERR_DATA_LOSS, "manifest %s has %zu bytes, not the %llu that the index says",
                            d->digest, ret_body->len, (unsigned long long) d->size);
        return r;
}

/* From the reference to the manifest for this machine. */
static int resolve(struct pull *p, struct err *err) {
        const struct ref *ref = p->args->ref;
        _cleanup_strbuf_ struct strbuf body = { 0 };
        const struct descriptor *chosen;
        char digest[DIGEST_LEN + 1];
        const char *type;
        int r;

        r = source_get_manifest(p->source, ref->digest ?: ref->tag, p->arena, &body, &type, err);
        for (unsigned depth = 0; r == 0; depth++) {
                digest_of(strbuf_str(&body), body.len, digest);
                r = keep_blob(p, digest, strbuf_str(&body), body.len, err);
                if (r == 0)
                        r = manifest_parse(strbuf_str(&body), body.len, type, p->arena, &p->manifest, err);
                if (r == 0 && depth == 0)
                        p->top_digest = p->blobs[0].digest;
                if (r < 0 || !p->manifest.is_index)
                        break;
                if (depth == INDEX_DEPTH_MAX)
                        return err_set(err, ERR_EXHAUSTED, "indexes are nested deeper than %d", INDEX_DEPTH_MAX);
                r = manifest_choose(&p->manifest, platform_host(), &chosen, err);
                strbuf_done(&body);
                if (r == 0)
                        r = get_child(p, chosen, &body, &type, err);
        }
        return r;
}

static int append(const void *data, size_t len, void *userdata, struct err *err) {
        strbuf_append(userdata, data, len);
        return 0;
}

static int get_config(struct pull *p, struct err *err) {
        const struct descriptor *d = &p->manifest.config;
        _cleanup_strbuf_ struct strbuf body = STRBUF(CONFIG_BYTES_MAX);
        const struct blob_sink sink = { append, &body };
        char *data;
        size_t len;
        int r = 0;

        if (content_read(p->env->content, d->digest, CONFIG_BYTES_MAX, &data, &len)) {
                body = (struct strbuf){ .data = data, .len = len, .cap = len + 1, .max = len };
        } else {
                r = source_get_blob(p->source, d->digest, d->size, &sink, false, err);
                if (r == 0 && body.overflow)
                        r = err_set(err, ERR_EXHAUSTED, "it is larger than %d bytes", CONFIG_BYTES_MAX);
        }
        if (r == 0)
                r = keep_blob(p, d->digest, strbuf_str(&body), body.len, err);
        if (r == 0)
                r = config_parse(strbuf_str(&body), body.len, p->arena, &p->config, err);
        return r < 0 ? err_wrap(err, "fetch config") : 0;
}

static int check_config(const struct pull *p, struct err *err) {
        const struct platform *host = platform_host(), *image = &p->config.platform;

        if (!platform_runs(image, host))
                return err_set(err, ERR_NOT_FOUND, "no image for %s/%s: it is for %.30s/%.30s", host->os, host->arch,
                               image->os, image->arch);
        if (p->config.n_diff_ids != p->manifest.n_layers)
                return err_set(err, ERR_INVALID, "the config has %zu layers, the manifest %zu", p->config.n_diff_ids,
                               p->manifest.n_layers);
        return 0;
}

/* A layer's blob, which may come to be kept. */
static void hold_layer_blob(struct pull *p, const struct descriptor *d) {
        for (size_t i = 0; i < p->n_blobs; i++)
                if (str_eq(p->blobs[i].digest, d->digest))
                        return;
        records_hold_blob(p->env->records, d->digest);
        p->blobs[p->n_blobs++] = (struct record_blob){ d->digest, 0 };
}

/* Chain ids, and holds on layers and their blobs. */
static void plan_layers(struct pull *p) {
        char text[2 * DIGEST_LEN + 2];
        size_t n = p->manifest.n_layers;
        const struct record_blob *documents = p->blobs;

        p->blobs = arena_array(p->arena, struct record_blob, p->n_blobs + n);
        memcpy(p->blobs, documents, p->n_blobs * sizeof(*p->blobs));
        p->layers = arena_array(p->arena, struct pull_layer, n + 1);
        for (size_t i = 0; i < n; i++) {
                struct pull_layer *l = &p->layers[i];

                l->blob = &p->manifest.layers[i];
                l->diff_id = p->config.diff_ids[i];
                if (i == 0) {
                        (void) snprintf(l->chain_id, sizeof(l->chain_id), "%s", l->diff_id);
                } else {
                        (void) snprintf(text, sizeof(text), "%s %s", p->layers[i - 1].chain_id, l->diff_id);
                        digest_of(text, strlen(text), l->chain_id);
                }
                records_hold_layer(p->env->records, l->chain_id);
                p->n_held_layers++;
                hold_layer_blob(p, l->blob);
        }
}

static int commit(struct pull *p, struct err *err) {
        const struct ref *ref = p->args->ref;
        const char **layers = arena_array(p->arena, const char *, p->n_held_layers + 1), *names[3] = { NULL };
        const struct image_record record = { .id = p->manifest.config.digest,
                                             .blobs = p->blobs,
                                             .n_blobs = p->n_blobs,
                                             .layers = layers,
                                             .n_layers = p->n_held_layers,
                                             .config = &p->config };

        for (size_t i = 0; i < p->n_held_layers; i++)
                layers[i] = p->layers[i].chain_id;
        for (size_t i = 0; i < p->n_blobs; i++)
                for (size_t k = 0; k < p->n_held_layers && !p->blobs[i].size; k++)
                        if (str_eq(p->layers[k].blob->digest, p->blobs[i].digest) &&
                            content_has(p->env->content, p->blobs[i].digest, p->layers[k].blob->size))
                                p->blobs[i].size = p->layers[k].blob->size;
        names[0] = ref_with_digest(ref, p->top_digest, p->arena);
        names[1] = ref->digest ? NULL : ref_string(ref, p->arena);
        return records_commit(p->env->records, &record, names, err);
}

/* Lets go of everything. What fails to be removed then is a matter for the log: the pull has its own outcome. */
static void let_go(struct pull *p, bool failed) {
        struct err err;

        for (size_t i = p->n_held_layers; i-- > 0;)
                if (records_release_layer(p->env->records, p->layers[i].chain_id, &err) < 0)
                        log_warn("a layer stays behind until the next start", "layer", p->layers[i].chain_id, "error",
                                 err.msg, NULL);
        for (size_t i = 0; i < p->n_blobs; i++)
                (failed ? records_retire_blob : records_release_blob)(p->env->records, p->blobs[i].digest);
        (void) source_free(p->source);
}

static struct source_args source_args_of(const struct pull_args *args) {
        return (struct source_args){
                .ref = args->ref, .creds = args->creds, .cancel_fd = args->cancel_fd, .deadline_ns = UINT64_MAX
        };
}

/* Indexes and manifest are known, nothing else was asked for yet. */
static int check_trust(struct pull *p, struct err *err) {
        const struct source_args source = source_args_of(p->args);
        const char *digests[DOCUMENTS_MAX], *signers;
        struct image_verdict *verdict = p->args->only_check;
        int r;

        for (size_t i = 0; i < p->n_blobs; i++)
                digests[i] = p->blobs[i].digest;
        r = trust_check(&p->trust, p->env->registries, &source, digests, p->n_blobs, p->arena, &signers, err);
        if (r == 0 && verdict)
                *verdict = (struct image_verdict){ .policy = p->trust.file,
                                                   .scope = p->trust.file ? p->trust.scope->name : NULL,
                                                   .digest = p->top_digest,
                                                   .signers = signers };
        return r;
}

int pull_run(const struct pull_env *env, const struct pull_args *args, struct arena *arena, const char **ret_id,
             struct err *err) {
        struct pull p = { .env = env, .args = args, .arena = arena };
        const struct source_args source = source_args_of(args);
        int r;

        r = trust_read(env->signature_policy, env->signature_policy_optional, args->ref, arena, &p.trust, err);
        if (r < 0)
                return r;
        p.blobs = arena_array(arena, struct record_blob, DOCUMENTS_MAX);
        p.source = source_new(env->registries, &source);
        r = resolve(&p, err);
        if (r == 0)
                r = check_trust(&p, err);
        if (r < 0 || args->only_check) {
                let_go(&p, false);
                return r;
        }
        r = get_config(&p, err);
        if (r == 0)
                r = check_config(&p, err);
        if (r == 0) {
                plan_layers(&p);
                r = pull_layers(env, args, p.source, p.layers, p.n_held_layers, err);
        }
        if (r == 0)
                r = commit(&p, err);
        if (r == 0)
                *ret_id = p.manifest.config.digest;
        let_go(&p, r < 0);
        return r;
}
