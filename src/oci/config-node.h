/* SPDX-License-Identifier: Apache-2.0 */
/* config-node - the values of a config.json with their paths, and typed reading of them. A value that is absent or null
 * reads as NULL, 0 or false; a wrong one raises ERR_INVALID with its path ("process.rlimits[2].soft: ..."). The first
 * error counts: it stays in the reader, and reading goes on with values that do no harm, so that callers look once, at
 * the end. Nodes are on the stack and point at their parents. Private to oci/. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/json.h"
#include "oci/config-raw.h"
#include "runtime/spec/names.h"
#include "runtime/spec/spec.h"

enum { CONFIG_MAX_WARNINGS = 64 };

struct config_reader {
        struct arena *arena;
        struct err *err;
        int r; /* 0, or the -code that is in @err */
        const char *bundle;
        struct config_raw raw; /* what is read */
        const char *warnings[CONFIG_MAX_WARNINGS + 1];
        size_t n_warnings;
};

struct config_node {
        struct config_reader *reader;
        const struct config_node *parent; /* NULL: the whole */
        const char *key;                  /* NULL: @index of an array */
        size_t index;
        bool of_map;        /* @key is anybody's, not one of the specification's */
        const json_t *json; /* NULL: absent */
};

static inline bool config_has(const struct config_node *n) {
        return n->json != NULL;
}

/* Raise, unless something was raised before. @key: a member of @n; NULL: itself. */
_printf_(3, 4) void config_fail(const struct config_node *n, const char *key, const char *fmt, ...);
/* Something is left out. */
_printf_(3, 4) void config_warn(const struct config_node *n, const char *key, const char *fmt, ...);

/* @n zeroed things; NULL for none of them, and when the arena is full, which is raised. */
void *config_alloc(const struct config_node *n, size_t count, size_t size);
#define config_array_of(n, type, count) ((type *) config_alloc((n), (count), sizeof(type)))

/* Text in the arena; "" when that is full, which is raised. */
_printf_(2, 3) const char *config_printf(const struct config_node *n, const char *fmt, ...);

/* The member @key, of any type. */
struct config_node config_member(const struct config_node *parent, const char *key);
struct config_node config_object(const struct config_node *parent, const char *key);
struct config_node config_array(const struct config_node *parent, const char *key, size_t max);
/* Raises when there is no member @key in an object that is there. */
void config_need(const struct config_node *parent, const char *key);

size_t config_count(const struct config_node *array); /* or object */
struct config_node config_item(const struct config_node *array, size_t i);
struct config_node config_item_object(const struct config_node *array, size_t i);
/* for (struct config_node v = config_first(&map); config_has(&v); v = config_next(&v)): names are in v.key, values may
 * be JSON's null. */
struct config_node config_first(const struct config_node *map);
struct config_node config_next(const struct config_node *value);

/* In the arena. Absent: NULL. */
const char *config_string(const struct config_node *parent, const char *key);
const char *config_string_of(const struct config_node *n);
/* "" is like absent. */
const char *config_text(const struct config_node *parent, const char *key);
bool config_bool(const struct config_node *parent, const char *key);
/* @has: is it there? May be NULL. */
uint64_t config_u64(const struct config_node *parent, const char *key, uint64_t max, bool *has);
uint64_t config_u64_of(const struct config_node *n, uint64_t max);
int64_t config_i64(const struct config_node *parent, const char *key, int64_t min, int64_t max, bool *has);
/* The value of the name. Absent: 0. */
uint64_t config_enum(const struct config_node *parent, const char *key, const struct spec_name *names, size_t n,
                     bool *has);
/* An array of names as the sum of their values. */
uint64_t config_flags(const struct config_node *parent, const char *key, const struct spec_name *names, size_t n);
/* NULL-terminated; never NULL. */
const char *const *config_strings(const struct config_node *parent, const char *key, size_t max);
/* An object whose values are strings. */
const struct spec_pair *config_pairs(const struct config_node *parent, const char *key, size_t max, size_t *ret_n);
/* A list of numbers and ranges, "0-3, 7", without the blanks; NULL when absent or empty. Numbers up to @max. */
const char *config_list(const struct config_node *parent, const char *key, unsigned max);
/* uidMappings, gidMappings: none of them overlaps another. */
const struct id_map *config_id_map(const struct config_node *parent, const char *key, size_t *ret_n);
/* A value as JSON text; NULL when absent. */
const char *config_as_text(const struct config_node *parent, const char *key);
