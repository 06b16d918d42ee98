/* SPDX-License-Identifier: Apache-2.0 */
#include "image/signature.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>
#include "base/alloc.h"
#include "base/base64.h"
#include "base/str.h"
#include "image/json.h"
#include "image/ref.h"

enum { RSA_BITS_MIN = 2048 };

static const char payload_type[] = "application/vnd.dev.cosign.simplesigning.v1+json";
static const char value_annotation[] = "dev.cosignproject.cosign/signature";
static const char claim_type[] = "cosign container image signature";

/* --- the manifest ----------------------------------------------------------------------------------------------- */

static int parse_layer(const json_t *layer, struct arena *arena, struct signature *ret, struct err *err) {
        const json_t *annotations;
        int r = json_get_string(layer, "digest", arena, &ret->digest, err);

        if (r == 0)
                r = json_get_u64(layer, "size", &ret->size, err);
        if (r == 0)
                r = json_get_object(layer, "annotations", 100, &annotations, err);
        if (r == 0)
                r = json_get_string(annotations, value_annotation, arena, &ret->value, err);
        if (r < 0)
                return r;
        if (!digest_is_valid(ret->digest))
                return err_set(err, ERR_INVALID, "a signature's payload has no valid digest");
        if (ret->size == 0 || ret->size > SIGNATURE_PAYLOAD_MAX || strlen(ret->value) > SIGNATURE_VALUE_MAX)
                return err_set(err, ERR_EXHAUSTED, "a signature of %llu bytes, not 1 to %d",
                               (unsigned long long) ret->size, SIGNATURE_PAYLOAD_MAX);
        return 0;
}

int signatures_parse(const char *data, size_t len, struct arena *arena, struct signature **ret, size_t *ret_n,
                     struct err *err) {
        _cleanup_(json_unrefp) json_t *doc = NULL;
        const json_t *layers = NULL;
        struct signature *list;
        const char *type;
        size_t n = 0;
        int r;

        r = json_parse(data, len, "the manifest of the signatures", &doc, err);
        if (r == 0)
                r = json_get_array(doc, "layers", SIGNATURES_MAX, &layers, err);
        if (r < 0)
                return r;
        list = arena_array(arena, struct signature, SIGNATURES_MAX);
        for (size_t i = 0; i < json_array_size(layers); i++) {
                r = json_get_string(json_array_get(layers, i), "mediaType", arena, &type, err);
                if (r < 0)
                        return r;
                if (!str_eq(type, payload_type))
                        continue;
                r = parse_layer(json_array_get(layers, i), arena, &list[n++], err);
                if (r < 0)
                        return r;
        }
        *ret = list;
        *ret_n = n;
        return 0;
}

/* --- keys ------------------------------------------------------------------------------------------------------- */

struct public_key {
        EVP_PKEY *pkey;
        bool hashes; /* the message is hashed first; else the algorithm does that itself */
};

struct public_key *public_key_free(struct public_key *k) {
        if (!k)
                return NULL;
        EVP_PKEY_free(k->pkey);
        free(k);
        return NULL;
}

int public_key_new(const char *pem, struct public_key **ret, struct err *err) {
        _cleanup_(public_key_freep) struct public_key *k = xnew(struct public_key);
        BIO *bio = BIO_new_mem_buf(pem, -1);

        if (!bio)
                abort();
        k->pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
        (void) BIO_free(bio);
        ERR_clear_error();
        if (!k->pkey)
                return err_set(err, ERR_PRECONDITION, "it is no public key in PEM (BEGIN PUBLIC KEY)");
        switch (EVP_PKEY_get_base_id(k->pkey)) {
        case EVP_PKEY_ED25519:
                break;
        case EVP_PKEY_RSA:
                if (EVP_PKEY_get_bits(k->pkey) < RSA_BITS_MIN)
                        return err_set(err, ERR_PRECONDITION,
                                       "an RSA key of %d bits is too weak, at least %d are wanted",
                                       EVP_PKEY_get_bits(k->pkey), RSA_BITS_MIN);
                k->hashes = true;
                break;
        case EVP_PKEY_EC:
                k->hashes = true;
                break;
        default:
                return err_set(err, ERR_PRECONDITION, "its algorithm is not ECDSA, Ed25519 or RSA");
        }
        *ret = TAKE_PTR(k);
        return 0;
}

static bool verifies(const struct public_key *k, const void *value, size_t value_len, const void *data, size_t len) {
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        bool good;

        if (!context)
                abort();
        good = EVP_DigestVerifyInit(context, NULL, k->hashes ? EVP_sha256() : NULL, NULL, k->pkey) == 1 &&
               EVP_DigestVerify(context, value, value_len, data, len) == 1;
        EVP_MD_CTX_free(context);
        ERR_clear_error();
        return good;
}

/* --- the payload ------------------------------------------------------------------------------------------------ */

/* It is shown to people. */
static bool is_plain(const char *s) {
        size_t n = 0;

        while (s[n] > ' ' && s[n] < 0x7f)
                n++;
        return n && !s[n] && n <= REF_MAX;
}

static bool has_members(const json_t *o, size_t n) {
        return json_is_object(o) && json_object_size(o) == n;
}

/* {"critical": {"identity": {"docker-reference"}, "image": {"docker-manifest-digest"}, "type"}, "optional"}, and no
 * more than that: what else is critical may say that the signature does not count. */
int signature_parse_claim(const char *payload, size_t len, struct arena *arena, struct signature_claim *ret,
                          struct err *err) {
        _cleanup_(json_unrefp) json_t *doc = NULL;
        const json_t *critical, *identity, *image;
        const char *type = "";
        int r = json_load_unique(payload, len, JSON_VALUES_MAX, "what is signed", &doc, err);

        if (r < 0)
                return r;
        critical = json_object_get(doc, "critical");
        identity = json_object_get(critical, "identity");
        image = json_object_get(critical, "image");
        if (!has_members(doc, 2) || !json_object_get(doc, "optional") || !has_members(critical, 3) ||
            !has_members(identity, 1) || !has_members(image, 1))
                return err_set(err, ERR_INVALID, "what is signed has not the form of cosign's payloads");
        r = json_get_string(critical, "type", arena, &type, err);
        if (r == 0 && !str_eq(type, claim_type))
                r = err_set(err, ERR_INVALID, "what is signed has another type than \"%s\"", claim_type);
        if (r == 0)
                r = json_get_string(identity, "docker-reference", arena, &ret->reference, err);
        if (r == 0)
                r = json_get_string(image, "docker-manifest-digest", arena, &ret->digest, err);
        if (r == 0 && (!is_plain(ret->reference) || !digest_is_valid(ret->digest)))
                r = err_set(err, ERR_INVALID, "what is signed names no image and digest");
        return r;
}

int signature_check(const struct public_key *key, const char *payload, size_t len, const char *value,
                    struct arena *arena, struct signature_claim *ret, struct err *err) {
        struct base64_decoder decoder = { 0 };
        size_t n = strlen(value);
        uint8_t bytes[3 * (SIGNATURE_VALUE_MAX / 4 + 1)];
        ssize_t got = n <= SIGNATURE_VALUE_MAX ? base64_decode(&decoder, (const uint8_t *) value, n, bytes) : -1;

        if (got <= 0 || !base64_complete(&decoder))
                return err_set(err, ERR_DENIED, "the signature is no base64");
        if (!verifies(key, bytes, (size_t) got, payload, len))
                return err_set(err, ERR_DENIED, "not signed by this key");
        return signature_parse_claim(payload, len, arena, ret, err);
}
