/* SPDX-License-Identifier: Apache-2.0 */
/* values - a request's arguments, from path, query or body: checked by the table. Pure. */
#include <assert.h>
#include <string.h>
#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "rest/operations.h"

enum { BODY_VALUES_MAX = 64, PATH_MAX_LEN = 8192 };

void rest_values_done(struct rest_values *v) {
        for (size_t i = 0; i < REST_ARGS_MAX; i++)
                free(v->value[i]);
        *v = (struct rest_values){ 0 };
}

static size_t find(const struct rest_operation *op, const char *name, size_t len) {
        size_t i = 0;

        while (op->args[i].name && !(strlen(op->args[i].name) == len && memcmp(op->args[i].name, name, len) == 0))
                i++;
        return i;
}

/* --- values --------------------------------------------------------------------------------------------------------
 */

static bool is_word(const char *s) {
        for (const char *p = s; *p; p++)
                if ((unsigned char) *p <= ' ' || *p == 0x7f)
                        return false;
        return *s && strlen(s) <= REST_WORD_MAX;
}

static bool is_name(const char *s) {
        return *s && *s != '.' && strlen(s) <= REST_WORD_MAX &&
               s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")] == '\0';
}

static bool is_text(const char *s) {
        for (const char *p = s; *p; p++)
                if (((unsigned char) *p < ' ' && *p != '\n') || *p == 0x7f)
                        return false;
        return strlen(s) <= REST_TEXT_MAX;
}

static int check(const struct rest_arg *arg, const char *text, char **ret, struct err *err) {
        uint64_t n;

        switch (arg->kind) {
        case REST_NAME:
                if (!is_name(text))
                        return err_set(err, ERR_INVALID,
                                       "%s: expected letters, digits, '-', '_' and '.', not \"%.64s\"", arg->name,
                                       text);
                *ret = xstrdup(text);
                return 0;
        case REST_WORD:
                if (!is_word(text))
                        return err_set(err, ERR_INVALID, "%s: expected 1 to %d characters without blanks", arg->name,
                                       REST_WORD_MAX);
                *ret = xstrdup(text);
                return 0;
        case REST_TEXT:
                if (!is_text(text))
                        return err_set(err, ERR_INVALID,
                                       "%s: expected text of up to %d bytes without control characters", arg->name,
                                       REST_TEXT_MAX);
                *ret = xstrdup(text);
                return 0;
        case REST_NUMBER:
                if (!str_to_u64(text, &n) || n > INT64_MAX)
                        return err_set(err, ERR_INVALID, "%s: expected a whole number, not \"%.64s\"", arg->name, text);
                *ret = xprintf("%llu", (unsigned long long) n);
                return 0;
        case REST_BOOL:
                if (!str_eq(text, "true") && !str_eq(text, "1") && !str_eq(text, "false") && !str_eq(text, "0"))
                        return err_set(err, ERR_INVALID, "%s: expected true or false, not \"%.64s\"", arg->name, text);
                *ret = xstrdup(str_eq(text, "true") || str_eq(text, "1") ? "1" : "0");
                return 0;
        }
        return err_set(err, ERR_INTERNAL, "%s has no kind", arg->name);
}

int rest_set(struct rest_values *v, const char *name, const char *text, struct err *err) {
        size_t i = find(v->op, name, strlen(name));
        char *value;
        int r;

        if (!v->op->args[i].name)
                return err_set(err, ERR_INVALID, "%s takes no \"%.64s\"", v->op->verb, name);
        if (v->value[i])
                return err_set(err, ERR_INVALID, "%s is given twice", name);
        r = check(&v->op->args[i], text, &value, err);
        if (r == 0)
                v->value[i] = value;
        return r;
}

const char *rest_get(const struct rest_values *v, const char *name) {
        size_t i = find(v->op, name, strlen(name));

        assert(v->op->args[i].name);
        return v->value[i];
}

bool rest_true(const struct rest_values *v, const char *name) {
        return str_eq(rest_get(v, name), "1");
}

int rest_check(const struct rest_values *v, struct err *err) {
        for (size_t i = 0; v->op->args[i].name; i++)
                if (v->op->args[i].required && !v->value[i])
                        return err_set(err, ERR_INVALID, "%s: %s is missing (%s)", v->op->verb, v->op->args[i].name,
                                       v->op->args[i].help);
        return 0;
}

/* --- the path ------------------------------------------------------------------------------------------------------
 */

char *rest_decode(const char *text, size_t len) {
        char *out = xcalloc(len + 1, 1), *to = out;

        for (size_t i = 0; i < len; i++) {
                int byte = (unsigned char) text[i];

                if (byte == '%') {
                        byte = len - i > 2 ? hex_decode_byte(text + i + 1) : -1;
                        i += 2;
                }
                if (byte <= 0) {
                        free(out);
                        return NULL;
                }
                *to++ = (char) byte;
        }
        return out;
}

void rest_encode(struct strbuf *to, const char *s) {
        for (; *s; s++) {
                bool plain = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", *s);

                if (plain)
                        strbuf_putc(to, *s);
                else
                        strbuf_printf(to, "%%%02X", (unsigned char) *s);
        }
}

/* The next part of a path, up to a slash or the end. */
static size_t part(const char *p) {
        return strcspn(p, "/");
}

/* Does @path fit @op's? @v, if there is one, gets what stands for the names in braces. */
static bool fits(const struct rest_operation *op, const char *path, struct rest_values *v, int *ret_error,
                 struct err *err) {
        const char *want = op->path;

        for (;;) {
                size_t n = part(want), m = part(path);

                if (*want == '{') {
                        _cleanup_(freep) char *value = m > 0 ? rest_decode(path, m) : NULL;
                        _cleanup_(freep) char *name = xstrndup(want + 1, n - 2);

                        if (m == 0)
                                return false;
                        if (v && !value)
                                *ret_error = err_set(err, ERR_INVALID, "the path is not well encoded");
                        else if (v && *ret_error == 0)
                                *ret_error = rest_set(v, name, value, err);
                } else if (n != m || memcmp(want, path, n) != 0) {
                        return false;
                }
                want += n;
                path += m;
                if (!*want || !*path)
                        return *want == *path;
                want++;
                path++;
        }
}

int rest_match(const char *method, const char *path, struct rest_values *ret, struct err *err) {
        bool known = false;
        int r = 0;

        *ret = (struct rest_values){ 0 };
        if (strlen(path) > PATH_MAX_LEN)
                return err_set(err, ERR_INVALID, "the path is too long");
        for (size_t i = 0; i < REST_OPERATIONS_N; i++) {
                const struct rest_operation *op = &rest_operations[i];

                if (!fits(op, path, NULL, &r, err))
                        continue;
                known = true;
                if (!str_eq(op->method, method))
                        continue;
                ret->op = op;
                (void) fits(op, path, ret, &r, err);
                return r;
        }
        if (known)
                return err_set(err, ERR_UNIMPLEMENTED, "%.200s takes no %.16s; GET /v1 lists what there is", path,
                               method);
        return err_set(err, ERR_NOT_FOUND, "there is no %.200s; GET /v1 lists what there is", path);
}

bool rest_in_path(const struct rest_operation *op, const char *arg) {
        _cleanup_(freep) char *want = xprintf("{%s}", arg);

        return strstr(op->path, want);
}

char *rest_path(const struct rest_values *v) {
        struct strbuf out = STRBUF(REST_ARGS_MAX * 3 * REST_TEXT_MAX);
        const char *p = v->op->path;

        while (*p) {
                size_t n = strcspn(p, "{");

                strbuf_append(&out, p, n);
                p += n;
                if (!*p)
                        break;
                n = strcspn(p, "}");
                rest_encode(&out, v->value[find(v->op, p + 1, n - 1)] ?: "");
                p += n + 1;
        }
        return strbuf_take(&out);
}

/* --- the body ------------------------------------------------------------------------------------------------------
 */

static int set_json(struct rest_values *v, const char *name, const json_t *value, struct err *err) {
        _cleanup_(freep) char *number = NULL;

        if (json_is_string(value))
                return rest_set(v, name, json_string_value(value), err);
        if (json_is_boolean(value))
                return rest_set(v, name, json_is_true(value) ? "true" : "false", err);
        if (json_is_integer(value)) {
                number = xprintf("%lld", (long long) json_integer_value(value));
                return rest_set(v, name, number, err);
        }
        return err_set(err, ERR_INVALID, "%.64s: expected a string, a whole number, true or false", name);
}

int rest_set_body(struct rest_values *v, const char *body, size_t len, struct err *err) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        const char *name;
        json_t *value;
        int r = 0;

        if (len > 0)
                r = json_load_bounded(body, len, BODY_VALUES_MAX, "the body", &o, err);
        if (r < 0)
                return r;
        json_object_foreach(o, name, value) {
                if (json_is_null(value))
                        continue;
                r = set_json(v, name, value, err);
                if (r < 0)
                        return r;
        }
        return 0;
}
