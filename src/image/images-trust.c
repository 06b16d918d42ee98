/* SPDX-License-Identifier: Apache-2.0 */
/* What the signature policy says, for people. */
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/images.h"
#include "image/pull.h"
#include "image/trust.h"

static void describe(const struct policy_scope *scope, const struct policy_requirement *req, struct arena *arena,
                     struct image_trust_rule *ret) {
        const char **keys = req->key_paths ?: req->key_pems;
        size_t n = strv_len(keys);

        *ret = (struct image_trust_rule){ .scope = scope->name,
                                          .type = req->type == POLICY_SIGNED   ? "sigstoreSigned"
                                                  : req->type == POLICY_REJECT ? "reject"
                                                                               : "insecureAcceptAnything",
                                          .keys = arena_array(arena, const char *, n + 1),
                                          .identity = n ? policy_identity_name(&req->identity, arena) : "" };
        for (size_t i = 0; i < n; i++)
                ret->keys[i] = req->key_paths ? req->key_paths[i] : "keyData";
}

int images_trust(struct images *s, struct arena *arena, const char **ret_file, struct image_trust_rule **ret,
                 size_t *ret_n, struct err *err) {
        const struct pull_env *env = images_pull_env(s);
        struct policy policy;
        size_t n = 0;
        int r = trust_policy(env->signature_policy, env->signature_policy_optional, arena, &policy, ret_file, err);

        *ret_n = 0;
        if (r < 0 || !*ret_file)
                return r;
        for (size_t i = 0; i < policy.n_scopes; i++)
                n += policy.scopes[i].n_reqs;
        *ret = arena_array(arena, struct image_trust_rule, n + policy.fallback.n_reqs);
        for (size_t i = 0; i <= policy.n_scopes; i++) {
                const struct policy_scope *scope = i < policy.n_scopes ? &policy.scopes[i] : &policy.fallback;

                for (size_t k = 0; k < scope->n_reqs; k++)
                        describe(scope, &scope->reqs[k], arena, &(*ret)[(*ret_n)++]);
        }
        return 0;
}

int images_check_trust(struct images *s, const struct image_remote *remote, const char *digest, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(PULL_ARENA_MAX);
        _cleanup_(credentials_freep) struct credentials *creds = NULL;
        const struct pull_env *env = images_pull_env(s);
        struct source_args source = { .cancel_fd = remote->cancel_fd, .deadline_ns = remote->deadline_ns };
        struct trust trust;
        struct ref ref;
        int r = ref_parse(remote->name, arena, &ref, err);

        if (r == 0)
                r = credentials_new(remote->auth, &creds, err);
        if (r == 0)
                r = trust_read(env->signature_policy, env->signature_policy_optional, &ref, arena, &trust, err);
        source.ref = &ref;
        source.creds = creds;
        if (r == 0)
                r = trust_check(&trust, env->registries, &source, &digest, 1, arena, NULL, err);
        return r < 0 ? err_wrap(err, "%.300s", remote->name) : 0;
}

int images_trust_test(struct images *s, const struct image_remote *remote, struct arena *arena,
                      struct image_verdict *ret, struct err *err) {
        _cleanup_(arena_freep) struct arena *own = arena_new(PULL_ARENA_MAX);
        _cleanup_(credentials_freep) struct credentials *creds = NULL;
        struct image_verdict verdict = { 0 };
        const char *id;
        struct ref ref;
        int r = ref_parse(remote->name, own, &ref, err);

        if (r == 0)
                r = credentials_new(remote->auth, &creds, err);
        if (r == 0)
                r = pull_run(
                        images_pull_env(s),
                        &(struct pull_args){
                                .ref = &ref, .creds = creds, .cancel_fd = remote->cancel_fd, .only_check = &verdict },
                        own, &id, err);
        if (r < 0)
                return r;
        *ret = (struct image_verdict){ .policy = arena_strdup(arena, verdict.policy),
                                       .scope = arena_strdup(arena, verdict.scope),
                                       .digest = arena_strdup(arena, verdict.digest),
                                       .signers = arena_strdup(arena, verdict.signers) };
        return 0;
}
