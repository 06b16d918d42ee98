/* SPDX-License-Identifier: Apache-2.0 */
/* auth - credentials of a pull, and Docker's token protocol: challenge in, Authorization header out. Private to image/.
 * Credentials go to the registry that they are for, and to the token server which that registry names; never elsewhere.
 * They are never logged. Thread-safe. */
#pragma once
#include <stdbool.h>
#include "http/challenge.h"
#include "http/client.h"
#include "image/image.h"
#include "image/ref.h"

/* What CRI's AuthConfig comes down to; NULL when absent. */
struct credentials {
        char *username, *password, *identity_token, *registry_token;
        char *server;                     /* host that they are for; NULL: the reference's own */
        char fingerprint[DIGEST_LEN + 1]; /* names them in caches without being them */
};

/* @auth may be NULL: anonymous. ERR_INVALID for a malformed "auth". */
_must_use_ int credentials_new(const struct image_auth *auth, struct credentials **ret, struct err *err);
bool credentials_are_empty(const struct credentials *c);     /* nobody's */
struct credentials *credentials_free(struct credentials *c); /* wipes */
DEFINE_CLEANUP(struct credentials *, credentials_free)

/* Headers that worked, by endpoint, repository and credentials. */
struct auth_cache;
struct auth_cache *auth_cache_new(void);
struct auth_cache *auth_cache_free(struct auth_cache *c);
/* A copy that the caller frees, or NULL. */
char *auth_cache_get(struct auth_cache *c, const char *key);
void auth_cache_put(struct auth_cache *c, const char *key, const char *header, uint64_t ttl_s);
void auth_cache_drop(struct auth_cache *c, const char *key);

struct auth_request {
        struct http *http;
        const struct credentials *credentials; /* NULL: none for this endpoint */
        const char *repository;                /* for the scope when the challenge names none; "": without one */
        const char *const *scopes;             /* wanted besides the challenge's, NULL-terminated; may be NULL */
        const char *ca_file;
        bool allow_http; /* the registry itself may be asked over plain http */
        int cancel_fd;
        uint64_t deadline_ns;
};
/* Answers @challenges (from a 401): @ret_header is the value for Authorization (caller frees) and holds for @ret_ttl_s.
 * ERR_UNAUTHENTICATED when there is no way, with the reason. */
_must_use_ int auth_answer(const struct auth_request *req, const struct challenges *challenges, char **ret_header,
                           uint64_t *ret_ttl_s, struct err *err);
/* @secret wiped and freed; NULL ok. */
char *secret_free(char *secret);
DEFINE_CLEANUP(char *, secret_free)
