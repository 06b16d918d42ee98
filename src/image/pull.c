/* SPDX-License-Identifier: Apache-2.0 */
#include "image/pull.h"

#include "base/alloc.h"
#include "base/str.h"
#include "image/assembly.h"
#include "image/trust.h"

struct pull {
        const struct pull_env *env;
        const struct pull_args *args;
        struct arena *arena;
        struct source *source;
        struct trust trust;
        const char *top_digest; /* of what the reference led to: an index or a manifest */
        struct assembly image;
};

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
                r = assembly_keep(&p->image, digest, strbuf_str(&body), body.len, err);
                if (r == 0)
                        r = manifest_parse(strbuf_str(&body), body.len, type, p->arena, &p->image.manifest, err);
                if (r == 0 && depth == 0)
                        p->top_digest = p->image.blobs[0].digest;
                if (r < 0 || !p->image.manifest.is_index)
                        break;
                if (depth == INDEX_DEPTH_MAX)
                        return err_set(err, ERR_EXHAUSTED, "indexes are nested deeper than %d", INDEX_DEPTH_MAX);
                r = manifest_choose(&p->image.manifest, platform_host(), &chosen, err);
                strbuf_done(&body);
                if (r == 0)
                        r = get_child(p, chosen, &body, &type, err);
        }
        return r;
}

static int get_config(struct pull *p, struct err *err) {
        const struct descriptor *d = &p->image.manifest.config;
        _cleanup_strbuf_ struct strbuf body = { 0 };
        char *data;
        size_t len;
        int r = 0;

        if (content_read(p->env->content, d->digest, CONFIG_BYTES_MAX, &data, &len))
                body = (struct strbuf){ .data = data, .len = len, .cap = len + 1, .max = len };
        else
                r = source_get_document(p->source, d->digest, d->size, CONFIG_BYTES_MAX, &body, err);
        if (r == 0)
                r = assembly_keep(&p->image, d->digest, strbuf_str(&body), body.len, err);
        if (r == 0)
                r = config_parse(strbuf_str(&body), body.len, p->arena, &p->image.config, err);
        return r < 0 ? err_wrap(err, "fetch config") : 0;
}

static int commit(struct pull *p, struct err *err) {
        const struct ref *ref = p->args->ref;
        const char *names[3] = { ref_with_digest(ref, p->top_digest, p->arena),
                                 ref->digest ? NULL : ref_string(ref, p->arena) };

        int r = assembly_commit(&p->image, names, err);

        if (r < 0 && pull_gives_back_blobs(p->env, p->image.layers, p->image.n_layers, err))
                r = assembly_commit(&p->image, names, err);
        return r;
}

static void let_go(struct pull *p, bool failed) {
        assembly_let_go(&p->image, failed);
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
        const char *digests[ASSEMBLY_DOCUMENTS_MAX], *signers;
        struct image_verdict *verdict = p->args->only_check;
        int r;

        for (size_t i = 0; i < p->image.n_blobs; i++)
                digests[i] = p->image.blobs[i].digest;
        r = trust_check(&p->trust, p->env->registries, &source, digests, p->image.n_blobs, p->arena, &signers, err);
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
        assembly_init(&p.image, env, arena);
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
                r = assembly_plan(&p.image, err);
        if (r == 0)
                r = pull_layers(env, args, p.source, p.image.layers, p.image.n_layers, err);
        if (r == 0)
                r = commit(&p, err);
        if (r == 0)
                *ret_id = p.image.manifest.config.digest;
        let_go(&p, r < 0);
        return r;
}
