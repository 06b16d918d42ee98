/* SPDX-License-Identifier: Apache-2.0 */
/* What the signature policy says, for people. */
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/images.h"
#include "image/pull.h"
#include "image/trust.h"

static void describe(const char *transport, const struct policy_scope *scope, const struct policy_requirement *req,
                     struct arena *arena, struct image_trust_rule *ret) {
        const char **keys = req->key_paths ?: req->key_pems;
        size_t n = strv_len(keys);

        *ret = (struct image_trust_rule){ .transport = transport,
                                          .scope = scope->name,
                                          .type = req->type == POLICY_SIGNED   ? "sigstoreSigned"
                                                  : req->type == POLICY_REJECT ? "reject"
                                                                               : "insecureAcceptAnything",
                                          .keys = arena_array(arena, const char *, n + 1),
                                          .identity = n ? policy_identity_name(&req->identity, arena) : "" };
        for (size_t i = 0; i < n; i++)
                ret->keys[i] = req->key_paths ? req->key_paths[i] : "keyData";
}

static size_t count(const struct policy_scope *scopes, size_t n_scopes) {
        size_t n = 0;

        for (size_t i = 0; i < n_scopes; i++)
                n += scopes[i].n_reqs;
        return n;
}

/* @transport NULL: the scopes' own. */
static struct image_trust_rule *describe_all(const char *transport, const struct policy_scope *scopes, size_t n_scopes,
                                             struct arena *arena, struct image_trust_rule *to) {
        for (size_t i = 0; i < n_scopes; i++)
                for (size_t k = 0; k < scopes[i].n_reqs; k++)
                        describe(transport ?: scopes[i].transport, &scopes[i], &scopes[i].reqs[k], arena, to++);
        return to;
}

int images_trust(struct images *s, struct arena *arena, const char **ret_file, struct image_trust_rule **ret,
                 size_t *ret_n, struct err *err) {
        const struct pull_env *env = images_pull_env(s);
        struct image_trust_rule *end;
        struct policy p;
        int r = trust_policy(env->signature_policy, env->signature_policy_optional, arena, &p, ret_file, err);

        *ret_n = 0;
        if (r < 0 || !*ret_file)
                return r;
        *ret = arena_array(arena, struct image_trust_rule,
                           count(p.scopes, p.n_scopes) + count(p.loads, p.n_loads) + p.fallback.n_reqs);
        end = describe_all("docker", p.scopes, p.n_scopes, arena, *ret);
        end = describe_all(NULL, p.loads, p.n_loads, arena, end);
        end = describe_all("", &p.fallback, 1, arena, end);
        *ret_n = (size_t) (end - *ret);
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
