/* SPDX-License-Identifier: Apache-2.0 */
/* json - members of answers, whose types are loose: numbers come as strings at times, booleans are 0 and 1. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/json.h"

/* NULL when @o has none, or it is no string. */
const char *pve_json_str(const json_t *o, const char *key);
/* False when @o has none, or it is no whole number, as a number or as a string. */
_must_use_ bool pve_json_u64(const json_t *o, const char *key, uint64_t *ret);
/* 1, "1" and true. */
bool pve_json_true(const json_t *o, const char *key);
