/* SPDX-License-Identifier: Apache-2.0 */
#include "image/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "image/manifest.h"
#include "image/referrers.h"
#include "image/signature.h"

enum { WHY_MAX = 600, SIGNERS_MAX = 16 * 1024, REFUSALS_TOLD = 4 };

/* --- the policy ------------------------------------------------------------------------------------------------- */

static int denied(struct err *err) {
        err->code = ERR_DENIED;
        err->kind = IMAGE_ERR_SIGNATURE;
        return -ERR_DENIED;
}

static int refuse(const struct trust *t, struct err *err) {
        log_warn("image refused by the signature policy", "image", t->ref->path, "registry", t->ref->host, "policy",
                 t->file, "error", err->msg, NULL);
        return denied(err);
}

int trust_policy(const char *file, bool optional, struct arena *arena, struct policy *ret, const char **ret_file,
                 struct err *err) {
        _cleanup_(freep) char *text = NULL;
        size_t len;
        int r;

        *ret_file = NULL;
        if (!file)
                return 0;
        r = fs_read_file(AT_FDCWD, file, POLICY_BYTES_MAX, &text, &len, err);
        if (r < 0 && optional && err->sys_errno == ENOENT)
                return 0;
        if (r == 0)
                r = policy_parse(text, len, arena, ret, err);
        if (r < 0) {
                (void) err_wrap(err, "the signature policy %s can't be obeyed, so no image is pulled", file);
                return denied(err);
        }
        *ret_file = file;
        return 0;
}

int trust_read(const char *file, bool optional, const struct ref *ref, struct arena *arena, struct trust *ret,
               struct err *err) {
        struct policy *policy = arena_new_of(arena, struct policy);
        struct trust t = { .file = file, .ref = ref };

        if (trust_policy(file, optional, arena, policy, &t.file, err) < 0) {
                t.file = file;
                return refuse(&t, err);
        }
        *ret = t;
        if (!t.file)
                return 0;
        t.scope = policy_find(policy, ref, arena);
        for (size_t i = 0; i < t.scope->n_reqs; i++)
                if (t.scope->reqs[i].type == POLICY_REJECT) {
                        (void) err_set(err, ERR_DENIED,
                                       "the signature policy %s rejects all images of its scope \"%s\"", file,
                                       t.scope->name);
                        return refuse(&t, err);
                }
        *ret = t;
        return 0;
}

int trust_load(const char *file, bool optional, const char *transport, const char *path, struct arena *arena,
               struct err *err) {
        const struct policy_scope *scope;
        struct policy policy;
        const char *found;
        int r = trust_policy(file, optional, arena, &policy, &found, err);

        if (r == 0 && !found)
                return 0;
        if (r == 0) {
                scope = policy_find_load(&policy, transport, path, arena);
                for (size_t i = 0; r == 0 && i < scope->n_reqs; i++)
                        if (scope->reqs[i].type != POLICY_ACCEPT)
                                r = err_set(err, ERR_DENIED, "the signature policy %s, scope \"%s\", %s", file,
                                            scope->name,
                                            scope->reqs[i].type == POLICY_REJECT
                                                    ? "rejects all images"
                                                    : "wants a signature, and what is loaded has none");
        }
        if (r == 0)
                return 0;
        log_warn("image refused by the signature policy", "transport", transport, "path", path ?: "", "policy", file,
                 "error", err->msg, NULL);
        return denied(err);
}

/* --- signatures ------------------------------------------------------------------------------------------------- */

/* What one of the policy's requirements wants, and how it stands. */
struct demand {
        const struct policy_requirement *req;
        struct public_key *keys[POLICY_LIST_MAX];
        size_t n_keys;
        bool met;
};

struct check {
        const struct trust *t;
        struct arena *arena;
        struct source *source;
        const char *digest; /* whose signatures are being looked at */
        struct demand *demands;
        size_t n_demands;
        size_t n_seen, n_here; /* signatures; of the digest, at the source */
        struct strbuf why;     /* of those, why not */
        struct strbuf signers; /* who has signed what */
};

static const char *key_name(const struct policy_requirement *req, size_t i) {
        return req->key_paths ? req->key_paths[i] : "keyData";
}

static int load_key(const struct policy_requirement *req, size_t i, struct public_key **ret, struct err *err) {
        _cleanup_(freep) char *text = NULL;
        int r = 0;

        if (req->key_paths)
                r = fs_read_file(AT_FDCWD, req->key_paths[i], SIGNATURE_KEY_MAX, &text, NULL, err);
        if (r == 0)
                r = public_key_new(text ?: req->key_pems[i], ret, err);
        return r < 0 ? err_wrap(err, "its key %s", key_name(req, i)) : 0;
}

/* All of them: one that can't be had is to be noticed before it is needed. */
static int load_keys(struct check *c, struct err *err) {
        const struct policy_scope *scope = c->t->scope;

        c->demands = arena_array(c->arena, struct demand, scope->n_reqs);
        for (size_t i = 0; i < scope->n_reqs; i++) {
                struct demand *d = &c->demands[c->n_demands];
                const char **keys = scope->reqs[i].key_paths ?: scope->reqs[i].key_pems;

                if (scope->reqs[i].type != POLICY_SIGNED)
                        continue;
                d->req = &scope->reqs[i];
                c->n_demands++;
                for (size_t k = 0; keys[k]; k++) {
                        int r = load_key(d->req, k, &d->keys[k], err);

                        if (r < 0) {
                                (void) err_wrap(err, "the signature policy %s can't be obeyed", c->t->file);
                                return refuse(c->t, err);
                        }
                        d->n_keys++;
                }
        }
        return 0;
}

static bool all_met(const struct check *c) {
        for (size_t i = 0; i < c->n_demands; i++)
                if (!c->demands[i].met)
                        return false;
        return true;
}

/* Does it meet the demand? Else why not. */
static bool meets(const struct check *c, const struct demand *d, const struct signature *s, const char *payload,
                  size_t len, struct arena *arena, size_t *ret_key, struct err *why) {
        struct signature_claim claim = { 0 };
        int r = -1;

        for (size_t i = 0; r < 0 && i < d->n_keys; i++) {
                r = signature_check(d->keys[i], payload, len, s->value, arena, &claim, why);
                *ret_key = i;
                if (r == -ERR_INVALID)
                        return false;
        }
        if (r < 0) {
                (void) err_set(why, ERR_DENIED, "not made by %s%s", key_name(d->req, 0),
                               d->n_keys > 1 ? " or the others" : "");
                return false;
        }
        if (!str_eq(claim.digest, c->digest)) {
                (void) err_set(why, ERR_DENIED, "made for another image, %s", claim.digest);
                return false;
        }
        if (!policy_identity_matches(&d->req->identity, c->t->ref, claim.reference, arena)) {
                (void) err_set(why, ERR_DENIED, "made for \"%.200s\", which is not what %s allows", claim.reference,
                               policy_identity_name(&d->req->identity, arena));
                return false;
        }
        return true;
}

static int look_at(struct check *c, const struct signature *s, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
        _cleanup_strbuf_ struct strbuf payload = { 0 };
        struct err why = { 0 };
        int r;

        r = source_get_document(c->source, s->digest, s->size, SIGNATURE_PAYLOAD_MAX, &payload, err);
        if (r < 0)
                return err_wrap(err, "fetch a signature");
        c->n_seen++;
        c->n_here++;
        for (size_t i = 0; i < c->n_demands; i++) {
                struct demand *d = &c->demands[i];
                size_t key = 0;

                if (d->met)
                        continue;
                d->met = meets(c, d, s, strbuf_str(&payload), payload.len, arena, &key, &why);
                if (d->met)
                        strbuf_printf(&c->signers, "%s%s by %s", c->signers.len ? ", " : "", c->digest,
                                      key_name(d->req, key));
                else if (c->n_seen <= REFUSALS_TOLD)
                        strbuf_printf(&c->why, "; signature %zu: %s", c->n_seen, why.msg);
        }
        return 0;
}

static int look_at_manifest(struct check *c, const struct strbuf *body, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(4 * MANIFEST_BYTES_MAX);
        struct signature *list;
        size_t n;
        int r = signatures_parse(strbuf_str(body), body->len, arena, &list, &n, err);

        for (size_t i = 0; r == 0 && i < n && c->n_here < SIGNATURES_MAX && !all_met(c); i++)
                r = look_at(c, &list[i], err);
        return r;
}

/* "sha256-HEX.sig" */
static int look_by_tag(struct check *c, struct err *err) {
        const char *tag = arena_printf(c->arena, "sha256-%s.sig", c->digest + strlen("sha256:"));
        _cleanup_strbuf_ struct strbuf body = { 0 };
        const char *type;
        int r = source_get_manifest(c->source, tag, c->arena, &body, &type, err);

        if (r == -ERR_NOT_FOUND)
                return 0;
        return r < 0 ? r : look_at_manifest(c, &body, err);
}

static int look_by_referrers(struct check *c, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(REFERRERS_ARENA);
        struct image_referrer *list = xcalloc(REFERRERS_MAX, sizeof(*list));
        size_t n = 0;
        int r = referrers_list(c->source, c->digest, SIGNATURES_ARTIFACT_TYPE, arena, list, &n, err);

        for (size_t i = 0; r == 0 && i < MIN_OF(n, (size_t) SIGNATURES_MAX) && !all_met(c); i++) {
                _cleanup_strbuf_ struct strbuf body = { 0 };
                const char *type;

                r = source_get_manifest(c->source, list[i].digest, c->arena, &body, &type, err);
                if (r == -ERR_NOT_FOUND) /* the list is older than its removal */
                        r = 0;
                else if (r == 0)
                        r = look_at_manifest(c, &body, err);
        }
        free(list);
        return r;
}

static int look_for(struct check *c, const char *digest, struct err *err) {
        int r;

        c->digest = digest;
        c->n_here = 0;
        r = look_by_tag(c, err);
        if (r == 0 && !all_met(c))
                r = look_by_referrers(c, err);
        return r < 0 ? err_wrap(err, "signatures of %s", digest) : 0;
}

/* --- the check -------------------------------------------------------------------------------------------------- */

static int refuse_unsigned(struct check *c, const char *const *digests, size_t n, struct err *err) {
        const struct demand *d = c->demands;

        while (d->met)
                d++;
        (void) err_set(
                err, ERR_DENIED, "the signature policy %s, scope \"%s\", wants a signature by %s%s (%s): %s%s%s%s",
                c->t->file, c->t->scope->name, key_name(d->req, 0), d->n_keys > 1 ? " or others" : "",
                policy_identity_name(&d->req->identity, c->arena),
                c->n_seen ? "none of those that there are will do" : "there is none for ", c->n_seen ? "" : digests[0],
                c->n_seen || n < 2 ? "" : " nor what it leads to", strbuf_str(&c->why));
        return refuse(c->t, err);
}

/* The mirrors' signatures first, which may be older than the registry's. */
static int look_everywhere(struct check *c, struct registries *registries, const struct source_args *args,
                           const char *const *digests, size_t n, struct err *err) {
        struct source_args a = *args;
        bool again = true;
        int r = 0;

        while (again && r == 0 && !all_met(c)) {
                /* Of its own: where signatures come from says nothing about layers. */
                _cleanup_(source_freep) struct source *source = source_new(registries, &a);

                c->source = source;
                for (size_t i = 0; r == 0 && i < n && !all_met(c); i++)
                        r = look_for(c, digests[i], err);
                again = source_has_mirrors(source);
                a.no_mirrors = true;
        }
        c->source = NULL;
        return r;
}

int trust_check(const struct trust *t, struct registries *registries, const struct source_args *source,
                const char *const *digests, size_t n_digests, struct arena *arena, const char **ret, struct err *err) {
        struct check c = { .t = t, .arena = arena, .why = STRBUF(WHY_MAX), .signers = STRBUF(SIGNERS_MAX) };
        int r = 0;

        if (ret)
                *ret = NULL;
        if (t->file) {
                r = load_keys(&c, err);
                if (r == 0)
                        r = look_everywhere(&c, registries, source, digests, n_digests, err);
                if (r == 0 && !all_met(&c))
                        r = refuse_unsigned(&c, digests, n_digests, err);
        }
        if (r == 0 && c.signers.len) {
                log_info("image signed as the policy wants", "image", ref_string(t->ref, arena), "policy", t->file,
                         "scope", t->scope->name, "signed", strbuf_str(&c.signers), NULL);
                if (ret)
                        *ret = arena_strdup(arena, strbuf_str(&c.signers));
        }
        for (size_t i = 0; i < c.n_demands; i++)
                for (size_t k = 0; k < ELEMENTSOF(c.demands[i].keys); k++)
                        (void) public_key_free(c.demands[i].keys[k]);
        strbuf_done(&c.why);
        strbuf_done(&c.signers);
        return r;
}
