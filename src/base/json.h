/* SPDX-License-Identifier: Apache-2.0 */
/* json - loads JSON of strangers with jansson, bounded in depth and number of values before anything is allocated. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"

enum { JSON_LOAD_DEPTH_MAX = 64 };

static inline json_t *json_unref(json_t *j) {
        json_decref(j);
        return NULL;
}
DEFINE_CLEANUP(json_t *, json_unref)

/* An object; ERR_INVALID for anything else, ERR_EXHAUSTED past JSON_LOAD_DEPTH_MAX or @max_values. @what names it in
 * errors. @ret: json_unref() it.
 * jansson knows no number past INT64_MAX; whole ones up to UINT64_MAX become strings of their digits: json_to_u64(). */
_must_use_ int json_load_bounded(const char *data, size_t len, size_t max_values, const char *what, json_t **ret,
                                 struct err *err);
/* The same of an array. */
_must_use_ int json_load_array(const char *data, size_t len, size_t max_values, const char *what, json_t **ret,
                               struct err *err);
/* The same as the first, but a member that comes twice is ERR_INVALID: for what others must read as we do. */
_must_use_ int json_load_unique(const char *data, size_t len, size_t max_values, const char *what, json_t **ret,
                                struct err *err);
/* The same as the first, but strings may have NUL bytes in them: json_string_length() knows where they end. */
_must_use_ int json_load_bounded_nul(const char *data, size_t len, size_t max_values, const char *what, json_t **ret,
                                     struct err *err);
/* A whole number that is not negative, from 0 to UINT64_MAX. False when @j is anything else. */
_must_use_ bool json_to_u64(const json_t *j, uint64_t *ret);
/* As indented text with a newline at its end, in the arena. Takes @j; NULL, as jansson makes of no memory, aborts. */
const char *json_to_text(json_t *j, struct arena *arena);
/* A new array of what ends with NULL; NULL: no memory, or not UTF-8. */
json_t *json_from_strings(const char *const *list);
