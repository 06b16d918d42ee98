/* SPDX-License-Identifier: Apache-2.0 */
/* config-node - see config-node.h. */
#include "oci/config-node.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include "base/str.h"
#include "base/strbuf.h"

/* Enough for the longest path of ours with two names of others; those are cut. */
enum { PATH_SIZE = 400, MAX_ID_MAPS = 340 };

static void put_path(const struct config_node *n, struct strbuf *b) {
        if (!n->parent)
                return;
        put_path(n->parent, b);
        if (!n->key)
                strbuf_printf(b, "[%zu]", n->index);
        else if (n->of_map)
                strbuf_printf(b, "[\"%.100s\"]", n->key);
        else
                strbuf_printf(b, "%s%s", b->len ? "." : "", n->key);
}

_printf_(3, 0) static char *text_of(const struct config_node *n, const char *key, const char *fmt, va_list args,
                                    char *out, size_t size) {
        _cleanup_strbuf_ struct strbuf path = STRBUF(PATH_SIZE);
        char what[512];

        put_path(n, &path);
        if (key)
                strbuf_printf(&path, "%s%s", path.len ? "." : "", key);
        (void) vsnprintf(what, sizeof(what), fmt, args);
        (void) snprintf(out, size, "%s%s%s", strbuf_str(&path), path.len ? ": " : "", what);
        return out;
}

static void fail(const struct config_node *n, enum err_code code, const char *text) {
        if (n->reader->r == 0)
                n->reader->r = err_set(n->reader->err, code, "%s", text);
}

void config_fail(const struct config_node *n, const char *key, const char *fmt, ...) {
        char text[PATH_SIZE + 512];
        va_list args;

        va_start(args, fmt);
        fail(n, ERR_INVALID, text_of(n, key, fmt, args, text, sizeof(text)));
        va_end(args);
}

void config_warn(const struct config_node *n, const char *key, const char *fmt, ...) {
        struct config_reader *reader = n->reader;
        char text[PATH_SIZE + 512], *copy;
        va_list args;

        if (reader->n_warnings == CONFIG_MAX_WARNINGS)
                return;
        va_start(args, fmt);
        text_of(n, key, fmt, args, text, sizeof(text));
        va_end(args);
        copy = config_alloc(n, strlen(text) + 1, 1);
        if (copy)
                reader->warnings[reader->n_warnings++] = memcpy(copy, text, strlen(text) + 1);
}

void *config_alloc(const struct config_node *n, size_t count, size_t size) {
        void *p;

        if (count == 0)
                return NULL;
        p = arena_alloc(n->reader->arena, count * size);
        if (!p)
                fail(n, ERR_EXHAUSTED, "config.json takes too much memory");
        return p;
}

const char *config_printf(const struct config_node *n, const char *fmt, ...) {
        va_list args;
        char *text;
        int size;

        va_start(args, fmt);
        size = vsnprintf(NULL, 0, fmt, args);
        va_end(args);
        text = config_alloc(n, (size_t) size + 1, 1);
        if (!text)
                return "";
        va_start(args, fmt);
        (void) vsnprintf(text, (size_t) size + 1, fmt, args);
        va_end(args);
        return text;
}

struct config_node config_member(const struct config_node *parent, const char *key) {
        struct config_node n = { .reader = parent->reader, .parent = parent, .key = key };

        n.json = json_object_get(parent->json, key);
        if (json_is_null(n.json))
                n.json = NULL;
        return n;
}

static void check_type(struct config_node *n, bool ok, const char *type) {
        if (!n->json || ok)
                return;
        config_fail(n, NULL, "must be %s", type);
        n->json = NULL;
}

struct config_node config_object(const struct config_node *parent, const char *key) {
        struct config_node n = config_member(parent, key);

        check_type(&n, json_is_object(n.json), "an object");
        return n;
}

struct config_node config_array(const struct config_node *parent, const char *key, size_t max) {
        struct config_node n = config_member(parent, key);

        check_type(&n, json_is_array(n.json), "an array");
        if (json_array_size(n.json) > max) {
                config_fail(&n, NULL, "has more than %zu entries", max);
                n.json = NULL;
        }
        return n;
}

void config_need(const struct config_node *parent, const char *key) {
        struct config_node n = config_member(parent, key);

        if (config_has(parent) && !config_has(&n))
                config_fail(&n, NULL, "is missing");
}

size_t config_count(const struct config_node *array) {
        return json_is_array(array->json) ? json_array_size(array->json) : json_object_size(array->json);
}

struct config_node config_item(const struct config_node *array, size_t i) {
        return (struct config_node){
                .reader = array->reader, .parent = array, .index = i, .json = json_array_get(array->json, i)
        };
}

struct config_node config_item_object(const struct config_node *array, size_t i) {
        struct config_node n = config_item(array, i);

        check_type(&n, json_is_object(n.json), "an object");
        return n;
}

/* jansson's iterators are not const, though they change nothing. */
static struct config_node at(const struct config_node *map, void *iter) {
        struct config_node n = { .reader = map->reader, .parent = map, .of_map = true };

        if (iter) {
                n.key = json_object_iter_key(iter);
                n.json = json_object_iter_value(iter);
        }
        return n;
}

struct config_node config_first(const struct config_node *map) {
        return at(map, json_object_iter((json_t *) map->json));
}

struct config_node config_next(const struct config_node *value) {
        const struct config_node *map = value->parent;

        return at(map, json_object_iter_next((json_t *) map->json, json_object_key_to_iter(value->key)));
}

const char *config_string_of(const struct config_node *n) {
        size_t len = json_string_length(n->json);
        char *copy;

        if (!n->json)
                return NULL;
        if (!json_is_string(n->json)) {
                config_fail(n, NULL, "must be a string");
                return "";
        }
        copy = config_alloc(n, len + 1, 1);
        return copy ? memcpy(copy, json_string_value(n->json), len) : "";
}

const char *config_string(const struct config_node *parent, const char *key) {
        struct config_node n = config_member(parent, key);

        return config_string_of(&n);
}

const char *config_text(const struct config_node *parent, const char *key) {
        const char *s = config_string(parent, key);

        return str_empty(s) ? NULL : s;
}

bool config_bool(const struct config_node *parent, const char *key) {
        struct config_node n = config_member(parent, key);

        check_type(&n, json_is_boolean(n.json), "true or false");
        return json_is_true(n.json);
}

uint64_t config_u64_of(const struct config_node *n, uint64_t max) {
        uint64_t value = 0;

        if (!json_to_u64(n->json, &value)) {
                config_fail(n, NULL, "must be a whole number that is not negative");
                return 0;
        }
        if (value > max) {
                config_fail(n, NULL, "is more than %llu", (unsigned long long) max);
                return 0;
        }
        return value;
}

uint64_t config_u64(const struct config_node *parent, const char *key, uint64_t max, bool *has) {
        struct config_node n = config_member(parent, key);

        if (has)
                *has = config_has(&n);
        return config_has(&n) ? config_u64_of(&n, max) : 0;
}

int64_t config_i64(const struct config_node *parent, const char *key, int64_t min, int64_t max, bool *has) {
        struct config_node n = config_member(parent, key);
        json_int_t value = json_integer_value(n.json);

        if (has)
                *has = config_has(&n);
        check_type(&n, json_is_integer(n.json), "a whole number");
        if (!config_has(&n))
                return 0;
        if (value < min || value > max) {
                config_fail(&n, NULL, "is not between %lld and %lld", (long long) min, (long long) max);
                return 0;
        }
        return value;
}

static uint64_t value_of(const struct config_node *n, const struct spec_name *names, size_t n_names) {
        const char *s = json_string_value(n->json);

        for (size_t i = 0; s && i < n_names; i++)
                if (str_eq(names[i].name, s))
                        return names[i].value;
        if (s)
                config_fail(n, NULL, "unknown value \"%.64s\"", s);
        else
                config_fail(n, NULL, "must be a string");
        return 0;
}

uint64_t config_enum(const struct config_node *parent, const char *key, const struct spec_name *names, size_t n,
                     bool *has) {
        struct config_node value = config_member(parent, key);

        if (has)
                *has = config_has(&value);
        return config_has(&value) ? value_of(&value, names, n) : 0;
}

uint64_t config_flags(const struct config_node *parent, const char *key, const struct spec_name *names, size_t n) {
        struct config_node list = config_array(parent, key, 64);
        uint64_t sum = 0;

        for (size_t i = 0; i < config_count(&list); i++) {
                struct config_node flag = config_item(&list, i);

                sum |= value_of(&flag, names, n);
        }
        return sum;
}

const char *const *config_strings(const struct config_node *parent, const char *key, size_t max) {
        static const char *const none[1];
        struct config_node list = config_array(parent, key, max);
        size_t n = config_count(&list);
        const char **strings = n ? config_array_of(&list, const char *, n + 1) : NULL;

        for (size_t i = 0; strings && i < n; i++) {
                struct config_node s = config_item(&list, i);

                strings[i] = config_string_of(&s);
        }
        return strings ? strings : none;
}

const struct spec_pair *config_pairs(const struct config_node *parent, const char *key, size_t max, size_t *ret_n) {
        struct config_node map = config_object(parent, key);
        size_t n = config_count(&map), i = 0;
        struct spec_pair *pairs;

        *ret_n = 0;
        if (n > max)
                config_fail(&map, NULL, "has more than %zu entries", max);
        pairs = n > max ? NULL : config_array_of(&map, struct spec_pair, n);
        for (struct config_node v = config_first(&map); pairs && config_has(&v); v = config_next(&v)) {
                if (!*v.key)
                        config_fail(&map, NULL, "has an empty name");
                pairs[i].key = config_printf(&v, "%s", v.key);
                pairs[i++].value = config_string_of(&v);
        }
        *ret_n = i;
        return pairs;
}

/* "N" or "N-M" with N <= M. */
static bool range_is_valid(const char *range, unsigned max) {
        const char *dash = strchr(range, '-');
        char first[16] = "";
        uint64_t from, to;

        if (!dash)
                return str_to_u64(range, &from) && from <= max;
        if ((size_t) (dash - range) >= sizeof(first))
                return false;
        memcpy(first, range, (size_t) (dash - range));
        return str_to_u64(first, &from) && str_to_u64(dash + 1, &to) && from <= to && to <= max;
}

const char *config_list(const struct config_node *parent, const char *key, unsigned max) {
        const char *text = config_text(parent, key);
        char *list = text ? config_alloc(parent, strlen(text) + 1, 1) : NULL, *check, *range, *end = list;

        if (!list)
                return NULL;
        for (const char *s = text; *s; s++)
                if (!strchr(" \t\n", *s))
                        *end++ = *s;
        if (end == list)
                return NULL;
        check = config_alloc(parent, strlen(list) + 1, 1);
        if (!check)
                return NULL;
        memcpy(check, list, strlen(list) + 1);
        while ((range = strsep(&check, ",")))
                if (!range_is_valid(range, max)) {
                        config_fail(parent, key, "\"%.64s\" is not a list like \"0-3,7\" of numbers up to %u", text,
                                    max);
                        return NULL;
                }
        return list;
}

static bool overlap(uint32_t a, uint32_t b, uint32_t a_length, uint32_t b_length) {
        return a < (uint64_t) b + b_length && b < (uint64_t) a + a_length;
}

static void check_id_map(const struct config_node *n, const struct id_map *maps, size_t i) {
        const struct id_map *m = &maps[i];

        if (m->length == 0)
                config_fail(n, "size", "must be at least 1");
        if ((uint64_t) m->inside + m->length > UINT32_MAX || (uint64_t) m->outside + m->length > UINT32_MAX)
                config_fail(n, "size", "goes past the last id");
        for (size_t j = 0; j < i; j++)
                if (overlap(m->inside, maps[j].inside, m->length, maps[j].length) ||
                    overlap(m->outside, maps[j].outside, m->length, maps[j].length)) {
                        config_fail(n, NULL, "overlaps entry %zu", j);
                        return;
                }
}

const struct id_map *config_id_map(const struct config_node *parent, const char *key, size_t *ret_n) {
        struct config_node list = config_array(parent, key, MAX_ID_MAPS);
        size_t n = config_count(&list);
        struct id_map *maps = config_array_of(&list, struct id_map, n);

        *ret_n = maps ? n : 0;
        for (size_t i = 0; i < *ret_n; i++) {
                struct config_node m = config_item_object(&list, i);

                config_need(&m, "containerID");
                config_need(&m, "hostID");
                config_need(&m, "size");
                maps[i].inside = (uint32_t) config_u64(&m, "containerID", UINT32_MAX, NULL);
                maps[i].outside = (uint32_t) config_u64(&m, "hostID", UINT32_MAX, NULL);
                maps[i].length = (uint32_t) config_u64(&m, "size", UINT32_MAX, NULL);
                check_id_map(&m, maps, i);
        }
        return maps;
}

/* As it stands in the file. False: it can't be found there. */
static bool raw_of(const struct config_node *n, struct config_raw *ret) {
        struct config_raw parent;

        if (!n->parent) {
                *ret = n->reader->raw;
                return ret->text != NULL;
        }
        return n->key && raw_of(n->parent, &parent) && config_raw_member(parent, n->key, ret) && ret->text;
}

const char *config_as_text(const struct config_node *parent, const char *key) {
        struct config_node n = config_member(parent, key);
        struct config_raw raw;
        size_t flags = JSON_COMPACT | JSON_ENCODE_ANY, size;
        char *text;

        if (!config_has(&n))
                return NULL;
        if (raw_of(&n, &raw)) {
                text = config_alloc(&n, raw.len + 1, 1);
                return text ? memcpy(text, raw.text, raw.len) : NULL;
        }
        size = json_dumpb(n.json, NULL, 0, flags);
        text = config_alloc(&n, size + 1, 1);
        return text && json_dumpb(n.json, text, size, flags) == size ? text : NULL;
}
