/* SPDX-License-Identifier: Apache-2.0 */
/* str - small string helpers: strict number parsing, prefixes, random identifiers, times. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/attr.h"

static inline bool str_eq(const char *a, const char *b) {
        return a == b || (a && b && strcmp(a, b) == 0);
}
static inline bool str_empty(const char *s) {
        return !s || !*s;
}
/* The rest of @s behind @prefix, or NULL when @s does not start with it. */
static inline const char *str_after(const char *s, const char *prefix) {
        size_t n = strlen(prefix);
        return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}
bool str_ends_with(const char *s, const char *suffix);

/* Whole string, decimal, no sign or blanks for the unsigned one. False on anything else or overflow. */
_must_use_ bool str_to_u64(const char *s, uint64_t *ret);
_must_use_ bool str_to_i64(const char *s, int64_t *ret);
/* "1.5" is 1500. Moves @s behind it. */
_must_use_ bool str_take_thousandths(const char **s, uint64_t *ret);
/* "5s", "1m30s", "1.5s", "500ms", as Go writes times. False: it is none, or is more than a year. */
_must_use_ bool str_to_duration(const char *s, uint64_t *ret_ms);
/* "512", "64k", "10M", "2G" (powers of 1024, optional "i"/"iB"/"B"). */
_must_use_ bool str_to_bytes(const char *s, uint64_t *ret);
/* "12.3 MiB": for people. */
void str_from_bytes(uint64_t bytes, char *out, size_t out_size);

enum { ID_LEN = 64 };
/* A fresh random identifier of 64 lower-case hex digits, as containerd's and CRI-O's. */
void id_new(char out[ID_LEN + 1]);
bool id_is_valid(const char *s);

/* What a terminal would obey becomes '?', in place: control characters but for @kept, UTF-8's of U+0080 to U+009F, and
 * bytes that are no UTF-8. */
void str_make_printable(char *s, const char *kept);

void hex_encode(const void *bytes, size_t n, char *out /* 2n + 1 */);
/* The byte that two hex digits, of any case, stand for; -1 when they are none. The second is not looked at when the
 * first is none. */
int hex_decode_byte(const char *two);

uint64_t clock_realtime_ns(void);
uint64_t clock_monotonic_ns(void);
