/* SPDX-License-Identifier: Apache-2.0 */
/* arena - memory that is freed all at once: one per RPC, one per plan. Not thread-safe.
 * Has a maximum, since what fills it comes from outside: a plain arena_alloc() past it returns NULL,
 * the x-variants and arena_printf() abort (use them for small things of our own). */
#pragma once
#include <stddef.h>
#include "base/attr.h"
#include "base/cleanup.h"

struct arena;

struct arena *arena_new(size_t max_bytes);
struct arena *arena_free(struct arena *a); /* NULL ok; returns NULL */
DEFINE_CLEANUP(struct arena *, arena_free)

void *arena_alloc(struct arena *a, size_t bytes); /* zeroed, aligned to 16; NULL when the maximum is reached */
void *arena_xalloc(struct arena *a, size_t n, size_t size); /* zeroed; aborts */
char *arena_strdup(struct arena *a, const char *s);         /* NULL s gives NULL; aborts */
char *arena_strndup(struct arena *a, const char *s, size_t n);
void *arena_memdup(struct arena *a, const void *p, size_t n);
_printf_(2, 3) char *arena_printf(struct arena *a, const char *fmt, ...);
size_t arena_used(const struct arena *a);

#define arena_new_of(a, type) ((type *) arena_xalloc((a), 1, sizeof(type)))
#define arena_array(a, type, n) ((type *) arena_xalloc((a), (n), sizeof(type)))
