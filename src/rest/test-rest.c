/* SPDX-License-Identifier: Apache-2.0 */
/* The table of operations agrees with itself; requests become arguments by it, and what is wrong is refused. */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "rest/describe.h"
#include "rest/operations.h"

static void test_table(void) {
        for (size_t i = 0; i < REST_OPERATIONS_N; i++) {
                const struct rest_operation *op = &rest_operations[i];
                size_t n = 0;

                assert(op->verb && str_after(op->path, "/v1/") && op->columns && op->args);
                for (const struct rest_arg *a = op->args; a->name; a++, n++) {
                        assert(a->help && a->positional + a->flag <= 1 && (a->flag || a->metavar));
                        /* What is in the path is always there, and stands before what is not. */
                        assert(!rest_in_path(op, a->name) || a->positional);
                        for (const struct rest_arg *b = op->args; b < a; b++)
                                assert(!str_eq(a->name, b->name) && b->positional >= a->positional);
                }
                assert(n < REST_ARGS_MAX);
                for (const char *p = op->path; (p = strchr(p, '{')); p++) {
                        _cleanup_(freep) char *name = xstrndup(p + 1, strcspn(p + 1, "}"));
                        size_t k = 0;

                        while (op->args[k].name && !str_eq(op->args[k].name, name))
                                k++;
                        assert(op->args[k].name);
                }
                for (size_t k = 0; k < i; k++)
                        assert(!str_eq(op->verb, rest_operations[k].verb) &&
                               !(str_eq(op->method, rest_operations[k].method) &&
                                 str_eq(op->path, rest_operations[k].path)));
        }
}

/* Each operation is found again by what its client sends. */
static void test_there_and_back(void) {
        for (size_t i = 0; i < REST_OPERATIONS_N; i++) {
                const struct rest_operation *op = &rest_operations[i];
                _cleanup_rest_values_ struct rest_values sent = { .op = op }, got = { 0 };
                _cleanup_(freep) char *path = NULL;
                struct err err;

                for (const struct rest_arg *a = op->args; a->name; a++)
                        assert(rest_set(&sent, a->name,
                                        a->kind == REST_NUMBER ? "7"
                                        : a->kind == REST_BOOL ? "true"
                                        : a->kind == REST_NAME ? "a-b_c.d"
                                                               : "a/b:c%+;&",
                                        &err) == 0);
                assert(rest_check(&sent, &err) == 0);
                path = rest_path(&sent);
                assert(!strchr(path, '{') && rest_match(op->method, path, &got, &err) == 0 && got.op == op);
                for (const struct rest_arg *a = op->args; a->name; a++)
                        assert(rest_in_path(op, a->name) == !!rest_get(&got, a->name) &&
                               (!rest_in_path(op, a->name) ||
                                str_eq(rest_get(&got, a->name), rest_get(&sent, a->name))));
        }
}

static void test_paths(void) {
        static const struct {
                const char *method, *path;
                int r;
        } tests[] = {
                { "GET", "/v1/pods", 0 },
                { "GET", "/v1/pods/default%2Fweb/snapshots", 0 },
                { "GET", "/v1/pods/", -ERR_NOT_FOUND },
                { "GET", "/v1/pods//snapshots", -ERR_NOT_FOUND },
                { "GET", "/v1/pods/a/b/snapshots", -ERR_NOT_FOUND },
                { "GET", "/v1", -ERR_NOT_FOUND }, /* answered elsewhere */
                { "GET", "/", -ERR_NOT_FOUND },
                { "GET", "", -ERR_NOT_FOUND },
                { "GET", "/v1/nodes/", -ERR_NOT_FOUND },
                { "PATCH", "/v1/pods", -ERR_UNIMPLEMENTED },
                { "POST", "/v1/nodes", -ERR_UNIMPLEMENTED },
                { "GET", "/v1/pods/a%2/snapshots", -ERR_INVALID },
                { "GET", "/v1/pods/a%zz/snapshots", -ERR_INVALID },
                { "GET", "/v1/pods/a%00/snapshots", -ERR_INVALID },
                { "GET", "/v1/pods/a%0ab/snapshots", -ERR_INVALID },
                /* What stands in a path of Promox' is no way to another one. */
                { "DELETE", "/v1/pods/a/snapshots/..", -ERR_INVALID },
                { "DELETE", "/v1/pods/a/snapshots/%2e%2e", -ERR_INVALID },
                { "DELETE", "/v1/pods/a/snapshots/x%2F..", -ERR_INVALID },
                { "DELETE", "/v1/ha/rules/a%3Fb", -ERR_INVALID },
        };

        for (size_t i = 0; i < ELEMENTSOF(tests); i++) {
                _cleanup_rest_values_ struct rest_values v = { 0 };
                struct err err;

                assert(rest_match(tests[i].method, tests[i].path, &v, &err) == tests[i].r);
        }
}

static void test_bodies(void) {
        static const struct {
                const char *body;
                int r, check;
        } tests[] = {
                { "{\"name\": \"one\"}", 0, 0 },
                { "{\"name\": \"one\", \"description\": \"a\\nb\", \"lock-wait\": 5}", 0, 0 },
                { "{\"name\": \"one\", \"lock-wait\": \"5\"}", 0, 0 },
                { "{\"name\": \"one\", \"description\": null}", 0, 0 },
                { "", 0, -ERR_INVALID },
                { "{}", 0, -ERR_INVALID },
                { "{\"name\": \"\"}", -ERR_INVALID, 0 },
                { "{\"name\": \"a b\"}", -ERR_INVALID, 0 },
                { "{\"name\": \"one\", \"lock-wait\": -1}", -ERR_INVALID, 0 },
                { "{\"name\": \"one\", \"lock-wait\": 1.5}", -ERR_INVALID, 0 },
                { "{\"name\": \"one\", \"lock-wait\": true}", -ERR_INVALID, 0 },
                { "{\"name\": \"one\", \"description\": \"\\u0001\"}", -ERR_INVALID, 0 },
                { "{\"name\": \"one\", \"nome\": \"x\"}", -ERR_INVALID, 0 },
                { "{\"name\": \"one\", \"pod\": \"other\"}", -ERR_INVALID, 0 }, /* the path has said it */
                { "{\"name\": [\"one\"]}", -ERR_INVALID, 0 },
                { "[1]", -ERR_INVALID, 0 },
                { "\"x\"", -ERR_INVALID, 0 },
                { "{\"name\": \"one\"", -ERR_INVALID, 0 },
                { "{\"name\": \"one\"} x", -ERR_INVALID, 0 },
                { "\xff", -ERR_INVALID, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(tests); i++) {
                _cleanup_rest_values_ struct rest_values v = { 0 };
                struct err err;

                assert(rest_match("POST", "/v1/pods/a/snapshots", &v, &err) == 0);
                assert(rest_set_body(&v, tests[i].body, strlen(tests[i].body), &err) == tests[i].r);
                if (tests[i].r == 0)
                        assert(rest_check(&v, &err) == tests[i].check);
        }
}

static void test_many_members(void) {
        _cleanup_strbuf_ struct strbuf body = STRBUF(1 << 20);
        _cleanup_rest_values_ struct rest_values v = { 0 };
        struct err err;

        strbuf_puts(&body, "{\"name\": \"one\"");
        for (int i = 0; i < 1000; i++)
                strbuf_printf(&body, ", \"m%d\": null", i);
        strbuf_putc(&body, '}');
        assert(rest_match("POST", "/v1/pods/a/snapshots", &v, &err) == 0);
        assert(rest_set_body(&v, body.data, body.len, &err) == -ERR_EXHAUSTED);
}

static void test_kinds(void) {
        _cleanup_(freep) char *long_word = xcalloc(REST_WORD_MAX + 2, 1);
        _cleanup_rest_values_ struct rest_values v = { .op = &rest_operations[REST_SNAPSHOT_RM] };
        struct err err;

        memset(long_word, 'x', REST_WORD_MAX + 1);
        assert(rest_set(&v, "name", long_word, &err) == -ERR_INVALID);
        assert(rest_set(&v, "force", "yes", &err) == -ERR_INVALID);
        assert(rest_set(&v, "force", "0", &err) == 0 && !rest_true(&v, "force"));
        assert(rest_set(&v, "force", "1", &err) == -ERR_INVALID && strstr(err.msg, "twice"));
        assert(rest_set(&v, "lock-wait", "99999999999999999999", &err) == -ERR_INVALID);
        assert(rest_check(&v, &err) == -ERR_INVALID && strstr(err.msg, "pod is missing"));
}

static void test_description(void) {
        json_t *d = rest_describe();

        assert(json_array_size(json_object_get(d, "operations")) == REST_OPERATIONS_N);
        json_decref(d);
}

int main(void) {
        test_table();
        test_there_and_back();
        test_paths();
        test_bodies();
        test_many_members();
        test_kinds();
        test_description();
        return 0;
}
