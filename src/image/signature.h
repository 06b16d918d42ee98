/* SPDX-License-Identifier: Apache-2.0 */
/* signature - signatures of images as cosign makes them with a key: an OCI manifest whose layers are payloads (JSON
 * that says which image it is and what its manifest's digest is), each with its signature as an annotation. Bytes in,
 * claims out, no I/O; the keys are ECDSA (SHA-256), Ed25519 or RSA (SHA-256, PKCS #1 v1.5). Thread-safe. Private to
 * image/. Sources: containers/image's signature/internal/sigstore_payload.go, cosign's pkg/oci/static. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"

/* The type of such manifests where they refer to the image. */
#define SIGNATURES_ARTIFACT_TYPE "application/vnd.dev.cosign.artifact.sig.v1+json"

enum {
        SIGNATURES_MAX = 500, /* of one image: cosign adds one each time that it is signed */
        SIGNATURE_PAYLOAD_MAX = 64 * 1024,
        SIGNATURE_VALUE_MAX = 4096, /* in base64 */
        SIGNATURE_KEY_MAX = 16 * 1024,
};

struct signature {
        const char *digest; /* of the payload's blob */
        uint64_t size;
        const char *value; /* base64 */
};
/* Those in a manifest, in its order; layers that are something else are passed over. ERR_INVALID, ERR_EXHAUSTED. */
_must_use_ int signatures_parse(const char *data, size_t len, struct arena *arena, struct signature **ret,
                                size_t *ret_n, struct err *err);

struct public_key;
/* ERR_PRECONDITION for what is no public key in PEM, or one too weak. */
_must_use_ int public_key_new(const char *pem, struct public_key **ret, struct err *err);
struct public_key *public_key_free(struct public_key *k);
DEFINE_CLEANUP(struct public_key *, public_key_free)

struct signature_claim {
        const char *reference; /* who the image is said to be; not yet believed to be the one wanted */
        const char *digest;    /* of its manifest */
};
/* What a payload says, whoever made it. ERR_INVALID. */
_must_use_ int signature_parse_claim(const char *payload, size_t len, struct arena *arena, struct signature_claim *ret,
                                     struct err *err);
/* Is @value (base64) a signature of @payload by @key? Then what the payload says. ERR_DENIED when it is not,
 * ERR_INVALID when it is, but says nothing that can be understood. */
_must_use_ int signature_check(const struct public_key *key, const char *payload, size_t len, const char *value,
                               struct arena *arena, struct signature_claim *ret, struct err *err);
