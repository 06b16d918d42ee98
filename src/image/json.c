/* SPDX-License-Identifier: Apache-2.0 */
#include "image/json.h"

#include <string.h>

int json_parse(const char *data, size_t len, const char *what, json_t **ret, struct err *err) {
        return json_load_bounded(data, len, JSON_VALUES_MAX, what, ret, err);
}

static const json_t *member(const json_t *o, const char *key) {
        const json_t *v = json_object_get(o, key);

        return json_is_null(v) ? NULL : v;
}

static int wrong(struct err *err, const char *key, const char *type) {
        return err_set(err, ERR_INVALID, "\"%s\" is no %s", key, type);
}

/* The arena's maximum is an outcome, not an accident: its owner set it. */
static int copy_string(const json_t *v, struct arena *arena, const char **ret, struct err *err) {
        size_t n = json_string_length(v) + 1;
        char *copy = arena_alloc(arena, n);

        if (!copy)
                return err_set(err, ERR_EXHAUSTED, "too much JSON to keep in memory");
        memcpy(copy, json_string_value(v), n);
        *ret = copy;
        return 0;
}

int json_get_string(const json_t *o, const char *key, struct arena *arena, const char **ret, struct err *err) {
        const json_t *v = member(o, key);

        if (v && !json_is_string(v))
                return wrong(err, key, "string");
        *ret = "";
        return v ? copy_string(v, arena, ret, err) : 0;
}

int json_get_u64(const json_t *o, const char *key, uint64_t *ret, struct err *err) {
        const json_t *v = member(o, key);

        if (v && (!json_is_integer(v) || json_integer_value(v) < 0))
                return wrong(err, key, "number of zero or more");
        *ret = v ? (uint64_t) json_integer_value(v) : 0;
        return 0;
}

int json_get_array(const json_t *o, const char *key, size_t max, const json_t **ret, struct err *err) {
        const json_t *v = member(o, key);

        if (v && !json_is_array(v))
                return wrong(err, key, "array");
        if (json_array_size(v) > max)
                return err_set(err, ERR_EXHAUSTED, "\"%s\" has more than %zu entries", key, max);
        *ret = v;
        return 0;
}

int json_get_object(const json_t *o, const char *key, size_t max, const json_t **ret, struct err *err) {
        const json_t *v = member(o, key);

        if (v && !json_is_object(v))
                return wrong(err, key, "object");
        if (json_object_size(v) > max)
                return err_set(err, ERR_EXHAUSTED, "\"%s\" has more than %zu entries", key, max);
        *ret = v;
        return 0;
}

int json_get_strings(const json_t *o, const char *key, size_t max, struct arena *arena, const char ***ret,
                     struct err *err) {
        const json_t *v = NULL;
        const char **list;
        size_t n;
        int r = json_get_array(o, key, max, &v, err);

        if (r < 0)
                return r;
        n = json_array_size(v);
        list = arena_alloc(arena, (n + 1) * sizeof(*list));
        if (!list)
                return err_set(err, ERR_EXHAUSTED, "too much JSON to keep in memory");
        for (size_t i = 0; i < n; i++) {
                const json_t *s = json_array_get(v, i);

                if (!json_is_string(s))
                        return wrong(err, key, "array of strings");
                r = copy_string(s, arena, &list[i], err);
                if (r < 0)
                        return r;
        }
        *ret = list;
        return 0;
}
