/* SPDX-License-Identifier: Apache-2.0 */
/* Signature policies, manifests of signatures and what is signed: the first byte chooses. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include "base/str.h"
#include "image/policy.h"
#include "image/signature.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_policy(const char *text, size_t len, struct arena *arena) {
        static const char *const names[] = { "a.example/b/c:1", "busybox",
                                             "localhost:5000/x@sha256:"
                                             "0123456789abcdef0123456789abcdef"
                                             "0123456789abcdef0123456789abcdef" };
        static const char *const transports[] = { "oci", "docker-archive", "oci-archive" };
        struct policy p;
        struct ref ref;
        struct err err;

        if (policy_parse(text, len, arena, &p, &err) < 0)
                return;
        for (size_t i = 0; i < ELEMENTSOF(transports); i++) {
                const struct policy_scope *scope =
                        policy_find_load(&p, transports[i], i % 2 ? NULL : "/a/b.tar", arena);

                assert(scope->n_reqs > 0 && (!scope->transport || str_eq(scope->transport, transports[i])));
        }
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const struct policy_scope *scope;

                assert(ref_parse(names[i], arena, &ref, &err) == 0);
                scope = policy_find(&p, &ref, arena);
                assert(scope && scope->name && scope->n_reqs > 0 && scope->n_reqs <= POLICY_LIST_MAX);
                for (size_t k = 0; k < scope->n_reqs; k++) {
                        const struct policy_requirement *req = &scope->reqs[k];

                        if (req->type != POLICY_SIGNED)
                                continue;
                        assert(!req->key_paths != !req->key_pems);
                        assert(policy_identity_name(&req->identity, arena));
                        /* Of another repository. */
                        assert(req->identity.type != IDENTITY_MATCH_REPOSITORY ||
                               !policy_identity_matches(&req->identity, &ref, "other.example/x:1", arena));
                        (void) policy_identity_matches(&req->identity, &ref, names[i], arena);
                }
        }
}

/* One that is sound, so that payloads get past it only when they are signed: never. */
static const char pem[] = "-----BEGIN PUBLIC KEY-----\n"
                          "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
                          "-----END PUBLIC KEY-----\n";

static void check_signatures(const char *text, size_t len, struct arena *arena) {
        struct public_key *key;
        struct signature_claim claim;
        struct signature *list;
        struct err err;
        size_t n;

        if (signatures_parse(text, len, arena, &list, &n, &err) < 0)
                return;
        assert(n <= SIGNATURES_MAX && public_key_new(pem, &key, &err) == 0);
        for (size_t i = 0; i < n; i++) {
                assert(digest_is_valid(list[i].digest) && list[i].size <= SIGNATURE_PAYLOAD_MAX);
                assert(signature_check(key, text, len, list[i].value, arena, &claim, &err) < 0);
        }
        key = public_key_free(key);
}

static void check_claim(const char *text, size_t len, struct arena *arena) {
        struct signature_claim claim = { 0 };
        struct err err;

        if (signature_parse_claim(text, len, arena, &claim, &err) == 0)
                assert(digest_is_valid(claim.digest) && *claim.reference && strlen(claim.reference) <= REF_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct arena *arena;

        if (size == 0)
                return 0;
        arena = arena_new(POLICY_ARENA_MAX);
        if (data[0] % 3 == 0)
                check_policy((const char *) data + 1, size - 1, arena);
        else if (data[0] % 3 == 1)
                check_signatures((const char *) data + 1, size - 1, arena);
        else
                check_claim((const char *) data + 1, size - 1, arena);
        (void) arena_free(arena);
        return 0;
}
