/* SPDX-License-Identifier: Apache-2.0 */
/* map - string-keyed hash map, insertion-ordered iteration not promised. Keys are copied; values are borrowed.
 * Not thread-safe: the owner locks. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/cleanup.h"

struct map;

struct map *map_new(void);
struct map *map_free(struct map *m); /* values are not touched */
DEFINE_CLEANUP(struct map *, map_free)

void *map_get(const struct map *m, const char *key); /* NULL when missing */
/* Returns the value that was there before, or NULL. @value must not be NULL. */
void *map_set(struct map *m, const char *key, void *value);
void *map_take(struct map *m, const char *key); /* remove and return; NULL when missing */
size_t map_size(const struct map *m);
/* for (size_t it = 0; map_next(m, &it, &key, &value);) ... ; do not change the map meanwhile. key may be NULL. */
bool map_next(const struct map *m, size_t *it, const char **ret_key, void **ret_value);
