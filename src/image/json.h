/* SPDX-License-Identifier: Apache-2.0 */
/* json - what base/json.h loads, with the limit on values that manifests and records need, and typed getters that tell
 * absent from wrong. Private to image/. */
#pragma once
#include <stdint.h>
#include "base/arena.h"
#include "base/json.h"

enum { JSON_VALUES_MAX = 100000 };

/* As json_load_bounded(). */
_must_use_ int json_parse(const char *data, size_t len, const char *what, json_t **ret, struct err *err);

/* Members. Absent and null give "", 0, NULL; the wrong type gives ERR_INVALID. Arrays and objects are borrowed. */
_must_use_ int json_get_string(const json_t *o, const char *key, struct arena *arena, const char **ret,
                               struct err *err);
_must_use_ int json_get_u64(const json_t *o, const char *key, uint64_t *ret, struct err *err);
_must_use_ int json_get_array(const json_t *o, const char *key, size_t max, const json_t **ret, struct err *err);
_must_use_ int json_get_object(const json_t *o, const char *key, size_t max, const json_t **ret, struct err *err);
/* An array of strings, NULL-terminated; empty when absent. */
_must_use_ int json_get_strings(const json_t *o, const char *key, size_t max, struct arena *arena, const char ***ret,
                                struct err *err);
