/* SPDX-License-Identifier: Apache-2.0 */
/* policy - which images may be pulled: a file as containers-policy.json(5) says, which Podman, Skopeo and CRI-O have,
 * too. Bytes in, structures out, no I/O. Thread-safe. Private to image/.
 *
 * As there, whatever is not understood makes all of the file void. What this program can't check is refused in the same
 * way: GPG signatures (signedBy), certificates (fulcio, pki) and transparency logs (rekor...); so is a scope that no
 * image could match, since its author meant something. Of the transports "docker" counts, for registries, and for what
 * is loaded "oci", "oci-archive" and "docker-archive"; else "default". */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"
#include "image/ref.h"

enum {
        POLICY_BYTES_MAX = 1024 * 1024,
        POLICY_ARENA_MAX = 16 * 1024 * 1024, /* for what a file of that size parses to */
        POLICY_LIST_MAX = 64,                /* requirements of a scope, keys of a requirement */
};

/* Who a signature must say that the image is. X(enum, name in the file) */
#define POLICY_IDENTITIES(X)                                                                                           \
        X(IDENTITY_MATCH_EXACT, "matchExact")                                                                          \
        X(IDENTITY_MATCH_REPO_DIGEST_OR_EXACT, "matchRepoDigestOrExact") /* the default */                             \
        X(IDENTITY_MATCH_REPOSITORY, "matchRepository")                                                                \
        X(IDENTITY_EXACT_REFERENCE, "exactReference")                                                                  \
        X(IDENTITY_EXACT_REPOSITORY, "exactRepository")                                                                \
        X(IDENTITY_REMAP, "remapIdentity")

struct policy_identity {
        enum policy_identity_type {
#define X(type, name) type,
                POLICY_IDENTITIES(X)
#undef X
        } type;
        const char *value;         /* the reference, repository or prefix; NULL where it has none */
        const char *signed_prefix; /* of IDENTITY_REMAP */
};

struct policy_requirement {
        enum policy_type { POLICY_ACCEPT, POLICY_REJECT, POLICY_SIGNED } type;
        /* POLICY_SIGNED: public keys, NULL-terminated. One of both lists is NULL. */
        const char **key_paths; /* files, absolute */
        const char **key_pems;  /* as they stand in the policy */
        struct policy_identity identity;
};

struct policy_scope {
        const char *transport;           /* of a loaded image's; else NULL */
        const char *name;                /* as in the file; "default" for its default */
        struct policy_requirement *reqs; /* all of them must be met; at least one */
        size_t n_reqs;
};

struct policy {
        struct policy_scope fallback; /* "default" */
        struct policy_scope *scopes;  /* of the transport "docker" */
        size_t n_scopes;
        struct policy_scope *loads; /* of those for what is loaded */
        size_t n_loads;
};

/* ERR_INVALID malformed, ERR_UNIMPLEMENTED what can't be checked here, ERR_EXHAUSTED past a limit. */
_must_use_ int policy_parse(const char *data, size_t len, struct arena *arena, struct policy *ret, struct err *err);
/* The most specific scope for @ref: "host/path:tag" (or "@digest"), "host/path" and its parents, "host",
 * "*.parent.of.host", "", the default. */
const struct policy_scope *policy_find(const struct policy *p, const struct ref *ref, struct arena *arena);
/* The most specific scope for what is loaded from @path ("/a/b"; NULL: from nowhere that has a name) as @transport has
 * it: the path and its parents (not of "docker-archive"), "", the default. */
const struct policy_scope *policy_find_load(const struct policy *p, const char *transport, const char *path,
                                            struct arena *arena);
/* Does a signature that calls its image @claimed fit the one that was asked for as @ref? */
bool policy_identity_matches(const struct policy_identity *identity, const struct ref *ref, const char *claimed,
                             struct arena *arena);
const char *policy_identity_name(const struct policy_identity *identity, struct arena *arena); /* for people */
