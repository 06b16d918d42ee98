/* SPDX-License-Identifier: Apache-2.0 */
/* json - see json.h. */
#include "base/json.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"

enum { DIGITS_I64 = 19, DIGITS_U64 = 20 };

/* What jansson would build is known by the brackets, commas and colons outside of strings: a few bytes of JSON cost a
 * hundred of memory, and depth costs stack. */
static int check_shape(const char *data, size_t len, size_t max_values, const char *what, size_t *ret_n_long,
                       struct err *err) {
        size_t depth = 0, values = 0, digits = 0;
        bool quoted = false;

        for (size_t i = 0; i < len; i++) {
                char c = data[i];

                if (quoted) {
                        if (c == '\\')
                                i++;
                        else if (c == '"')
                                quoted = false;
                        continue;
                }
                quoted = c == '"';
                digits = c >= '0' && c <= '9' ? digits + 1 : 0;
                *ret_n_long += digits == DIGITS_I64;
                depth += c == '[' || c == '{';
                depth -= depth && (c == ']' || c == '}');
                values += c == ',' || c == '[' || c == '{' || c == ':';
                if (depth > JSON_LOAD_DEPTH_MAX)
                        return err_set(err, ERR_EXHAUSTED, "%s is nested deeper than %d levels", what,
                                       JSON_LOAD_DEPTH_MAX);
                if (values > max_values)
                        return err_set(err, ERR_EXHAUSTED, "%s has more than %zu values", what, max_values);
        }
        return 0;
}

/* The length of the number past INT64_MAX that @s begins with; 0: it is none. */
static size_t long_number(const char *s, size_t len) {
        char digits[DIGITS_U64 + 1] = "";
        size_t n = 0;
        uint64_t value;

        while (n < len && isdigit((unsigned char) s[n]))
                n++;
        if (n < DIGITS_I64 || n > DIGITS_U64 || *s == '0' || (n < len && strchr(".eE", s[n])))
                return 0;
        memcpy(digits, s, n);
        return str_to_u64(digits, &value) && value > INT64_MAX ? n : 0;
}

/* A copy with those numbers in quotes. */
static char *quote_long_numbers(const char *data, size_t len, size_t n_long, size_t *ret_len) {
        char *copy = malloc(len + 2 * n_long + 1), *out = copy;
        bool quoted = false;

        for (size_t i = 0; copy && i < len; i++) {
                bool starts = !quoted && data[i] >= '0' && data[i] <= '9' &&
                              (i == 0 || !strchr("-+.eE0123456789", data[i - 1]));
                size_t n = starts ? long_number(data + i, len - i) : 0;

                if (n) {
                        *out++ = '"';
                        out = (char *) mempcpy(out, data + i, n);
                        *out++ = '"';
                        i += n - 1;
                        continue;
                }
                *out++ = data[i];
                if (data[i] == '"')
                        quoted = !quoted;
                else if (data[i] == '\\' && quoted && i + 1 < len)
                        *out++ = data[++i];
        }
        *ret_len = copy ? (size_t) (out - copy) : 0;
        return copy;
}

static int load(const char *data, size_t len, json_type type, size_t flags, size_t max_values, const char *what,
                json_t **ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *j = NULL;
        _cleanup_(freep) char *copy = NULL;
        size_t n_long = 0;
        json_error_t why;
        int r;

        /* jansson 2.14 overlooks one behind a number. */
        if (len && memchr(data, '\0', len))
                return err_set(err, ERR_INVALID, "%s is not valid JSON: it has a NUL byte", what);
        r = check_shape(data, len, max_values, what, &n_long, err);
        if (r < 0)
                return r;
        if (n_long) {
                copy = quote_long_numbers(data, len, n_long, &len);
                if (!copy)
                        return err_set(err, ERR_EXHAUSTED, "%s takes too much memory", what);
                data = copy;
        }
        j = json_loadb(data, len, flags, &why);
        if (!j) {
                /* It quotes the stranger. */
                for (char *p = why.text; *p; p++)
                        if (!isprint((unsigned char) *p))
                                *p = '?';
                return err_set(err, ERR_INVALID, "%s is not valid JSON: line %d, column %d: %s", what, why.line,
                               why.column, why.text);
        }
        if (json_typeof(j) != type)
                return err_set(err, ERR_INVALID, "%s is not a JSON %s", what, type == JSON_ARRAY ? "array" : "object");
        *ret = TAKE_PTR(j);
        return 0;
}

int json_load_bounded(const char *data, size_t len, size_t max_values, const char *what, json_t **ret,
                      struct err *err) {
        return load(data, len, JSON_OBJECT, 0, max_values, what, ret, err);
}

int json_load_array(const char *data, size_t len, size_t max_values, const char *what, json_t **ret, struct err *err) {
        return load(data, len, JSON_ARRAY, 0, max_values, what, ret, err);
}

int json_load_unique(const char *data, size_t len, size_t max_values, const char *what, json_t **ret, struct err *err) {
        return load(data, len, JSON_OBJECT, JSON_REJECT_DUPLICATES, max_values, what, ret, err);
}

int json_load_bounded_nul(const char *data, size_t len, size_t max_values, const char *what, json_t **ret,
                          struct err *err) {
        return load(data, len, JSON_OBJECT, JSON_ALLOW_NUL, max_values, what, ret, err);
}

bool json_to_u64(const json_t *j, uint64_t *ret) {
        if (json_is_string(j))
                return str_to_u64(json_string_value(j), ret) && *ret > INT64_MAX;
        if (!json_is_integer(j) || json_integer_value(j) < 0)
                return false;
        *ret = (uint64_t) json_integer_value(j);
        return true;
}

const char *json_to_text(json_t *j, struct arena *arena) {
        _cleanup_(freep) char *text = json_dumps(j, JSON_INDENT(4));

        if (!text)
                abort();
        json_decref(j);
        return arena_printf(arena, "%s\n", text);
}

json_t *json_from_strings(const char *const *list) {
        json_t *j = json_array();

        for (; j && list && *list; list++)
                if (json_array_append_new(j, json_string(*list)) < 0)
                        return json_unref(j);
        return j;
}
