/* SPDX-License-Identifier: Apache-2.0 */
/* ref - image references: "[host[:port]/]path[:tag][@digest]" in any form that people write, made full as Docker does.
 * Pure functions; thread-safe. Everything lives in the arena. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

enum { REF_MAX = 1024, REF_NAME_MAX = 255, REF_TAG_MAX = 128, DIGEST_LEN = 7 + 64 };

struct ref {
        const char *host;   /* "docker.io", "registry.example:5000" */
        const char *path;   /* "library/busybox" */
        const char *tag;    /* NULL when there is a digest: then a tag says nothing */
        const char *digest; /* "sha256:...", or NULL */
};

/* ERR_INVALID with the reason. Without tag and digest the tag is "latest". */
_must_use_ int ref_parse(const char *s, struct arena *arena, struct ref *ret, struct err *err);
const char *ref_name(const struct ref *r, struct arena *arena);   /* "host/path" */
const char *ref_string(const struct ref *r, struct arena *arena); /* "host/path:tag" or "host/path@digest" */
const char *ref_with_digest(const struct ref *r, const char *digest, struct arena *arena); /* "host/path@digest" */

bool tag_is_valid(const char *s);
bool path_is_valid(const char *path); /* a repository, without its host */

/* "sha256:" and 64 lower-case hex digits: the only digests that are taken. */
bool digest_is_valid(const char *s);
/* The digest of @data, "sha256:...". */
void digest_of(const void *data, size_t len, char out[DIGEST_LEN + 1]);
