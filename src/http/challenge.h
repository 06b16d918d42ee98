/* SPDX-License-Identifier: Apache-2.0 */
/* challenge - the WWW-Authenticate header (RFC 9110, 11.6.1): bytes in, structure out, no I/O. Thread-safe. */
#pragma once
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

enum { CHALLENGE_MAX = 8, CHALLENGE_PARAMS_MAX = 16, CHALLENGE_BYTES_MAX = 8 * 1024 };

struct challenge_param {
        const char *name, *value; /* name in lower case, value unquoted */
};
struct challenge {
        const char *scheme; /* lower case: "bearer", "basic" */
        struct challenge_param params[CHALLENGE_PARAMS_MAX];
        size_t n_params;
};
struct challenges {
        struct challenge list[CHALLENGE_MAX];
        size_t n;
};

/* Parses one header value, which may hold several challenges, and adds them to @ret. ERR_INVALID for what breaks the
 * grammar, ERR_EXHAUSTED past the limits; what was parsed before then stays in @ret. */
_must_use_ int challenge_parse(const char *value, struct arena *arena, struct challenges *ret, struct err *err);
/* The first one of @scheme (lower case), or NULL. */
const struct challenge *challenge_find(const struct challenges *c, const char *scheme);
const char *challenge_param(const struct challenge *c, const char *name); /* NULL when missing */
