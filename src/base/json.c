/* SPDX-License-Identifier: Apache-2.0 */
/* json - see json.h. */
#include "base/json.h"

#include <stdbool.h>

/* What jansson would build is known by the brackets, commas and colons outside of strings: a few bytes of JSON cost a
 * hundred of memory, and depth costs stack. */
static int check_shape(const char *data, size_t len, size_t max_values, const char *what, struct err *err) {
        size_t depth = 0, values = 0;
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

static int load(const char *data, size_t len, size_t flags, size_t max_values, const char *what, json_t **ret,
                struct err *err) {
        _cleanup_(json_unrefp) json_t *j = NULL;
        json_error_t why;
        int r;

        r = check_shape(data, len, max_values, what, err);
        if (r < 0)
                return r;
        j = json_loadb(data, len, flags, &why);
        if (!j)
                return err_set(err, ERR_INVALID, "%s is not valid JSON: line %d, column %d: %s", what, why.line,
                               why.column, why.text);
        if (!json_is_object(j))
                return err_set(err, ERR_INVALID, "%s is not a JSON object", what);
        *ret = TAKE_PTR(j);
        return 0;
}

int json_load_bounded(const char *data, size_t len, size_t max_values, const char *what, json_t **ret,
                      struct err *err) {
        return load(data, len, 0, max_values, what, ret, err);
}

int json_load_bounded_nul(const char *data, size_t len, size_t max_values, const char *what, json_t **ret,
                          struct err *err) {
        return load(data, len, JSON_ALLOW_NUL, max_values, what, ret, err);
}

json_t *json_from_strings(const char *const *list) {
        json_t *j = json_array();

        for (; j && list && *list; list++)
                if (json_array_append_new(j, json_string(*list)) < 0)
                        return json_unref(j);
        return j;
}
