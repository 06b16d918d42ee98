/* SPDX-License-Identifier: Apache-2.0 */
/* trust - may this image be pulled: the policy's file (policy.h), and the signatures (signature.h) that the registry or
 * its mirrors have for it. For pulling threads. Private to image/.
 *
 * Signatures are looked for where cosign puts them: under the tag "sha256-HEX.sig" of the same repository, and among
 * what refers to the manifest (OCI 1.1) with the type of cosign's signatures. Sigstore's bundles are passed over: they
 * don't say which image they are for, only which digest, and the policy wants to know.
 *
 * One that is for the index counts for the image chosen from it, which it names by digest; one for the image's own
 * manifest counts, too. Who the image is is what was asked for, wherever its bytes and signatures come from. */
#pragma once
#include "image/policy.h"
#include "image/registry.h"

struct trust {
        const char *file; /* the policy's; NULL: there is none, everything is taken */
        const struct ref *ref;
        const struct policy_scope *scope;
};

/* The policy itself, in @arena; @ret_file NULL when there is none. Fails as trust_read(). */
_must_use_ int trust_policy(const char *file, bool optional, struct arena *arena, struct policy *ret,
                            const char **ret_file, struct err *err);
/* Reads the policy and what it has for @ref, which is borrowed; all else lives in @arena, which must allow
 * POLICY_ARENA_MAX for it. @file NULL: no policy; with @optional, none either when the file is missing. ERR_DENIED with
 * the kind IMAGE_ERR_SIGNATURE when it rejects the image whoever signed it, or when it can't be read or obeyed. */
_must_use_ int trust_read(const char *file, bool optional, const struct ref *ref, struct arena *arena,
                          struct trust *ret, struct err *err);
/* Does what the policy wants hold for a pull that went from @digests[0] (the reference's) by way of an index or several
 * to the last of them? @ret (may be NULL): for people, who has signed what. ERR_DENIED as above, or what went wrong in
 * asking. */
_must_use_ int trust_check(const struct trust *t, struct registries *registries, const struct source_args *source,
                           const char *const *digests, size_t n_digests, struct arena *arena, const char **ret,
                           struct err *err);
/* May an image be loaded from @path (NULL: a pipe) as @transport, "oci", "oci-archive", "docker-archive" or "tarball"?
 * Nothing of that kind has signatures: where some are wanted, none will do. Fails as trust_read(). */
_must_use_ int trust_load(const char *file, bool optional, const char *transport, const char *path, struct arena *arena,
                          struct err *err);
