/* SPDX-License-Identifier: Apache-2.0 */
/* proxmox - operations on pods' Proxmox containers: each verb is one of the daemon's REST operations, made from the
 * table that has them. The daemon does it; when this program ends early, it goes on there. */
#include <jansson.h>
#include <stdio.h>
#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cri.h"
#include "cli/json.h"
#include "cli/proxmox-show.h"
#include "cli/verbs.h"
#include "http/client.h"
#include "rest/operations.h"

enum { ANSWER_MAX = 32 << 20, VALUES_MAX = 2000000, QUERY_MAX = 128 * 1024, STALL_S = 365 * 86400 };

/* --- the request ---------------------------------------------------------------------------------------------------
 */

static int read_args(const struct cli_args *args, struct rest_values *v, struct err *err) {
        size_t n = 0;
        int r = 0;

        for (const struct rest_arg *a = v->op->args; a->name && r == 0; a++) {
                const char *value = a->positional              ? args->rest[n++]
                                    : !args_has(args, a->name) ? NULL
                                    : a->flag                  ? "true"
                                                               : args_value(args, a->name);

                if (value)
                        r = rest_set(v, a->name, value, err);
        }
        return r < 0 ? r : rest_check(v, err);
}

static bool in_query(const struct rest_operation *op) {
        return str_eq(op->method, "GET") || str_eq(op->method, "DELETE");
}

static json_t *body_of(const struct rest_values *v) {
        json_t *o = json_object();

        for (size_t i = 0; v->op->args[i].name; i++) {
                const struct rest_arg *a = &v->op->args[i];

                if (!v->value[i] || rest_in_path(v->op, a->name))
                        continue;
                (void) json_object_set_new(o, a->name,
                                           a->kind == REST_BOOL ? json_boolean(*v->value[i] == '1')
                                                                : json_string(v->value[i]));
        }
        return o;
}

/* Caller frees. */
static char *url_of(const struct rest_values *v) {
        _cleanup_(freep) char *path = rest_path(v);
        struct strbuf url = STRBUF(QUERY_MAX);
        char separator = '?';

        strbuf_printf(&url, "http://localhost%s", path); /* the host is not looked at */
        for (size_t i = 0; in_query(v->op) && v->op->args[i].name; i++) {
                if (!v->value[i] || rest_in_path(v->op, v->op->args[i].name))
                        continue;
                strbuf_printf(&url, "%c%s=", separator, v->op->args[i].name);
                rest_encode(&url, v->value[i]);
                separator = '&';
        }
        return strbuf_take(&url);
}

/* The daemon says where it is. */
static int find_socket(struct cli *cli, const char **ret, struct err *err) {
        Proxmoxlxcri__V1__InfoResponse *info;
        json_t *config;
        const char *path;
        int r = cri_info(cli, &info, err);

        if (r < 0)
                return r;
        config = json_loads(info->config, 0, NULL);
        path = json_string_value(json_object_get(config, "api-socket"));
        *ret = path ? arena_strdup(cli->arena, path) : NULL;
        if (*ret && json_object_size(json_object_get(config, "proxmox")) == 0)
                r = err_set(err, ERR_PRECONDITION,
                            "this daemon has no pods in Proxmox containers: its configuration has no key proxmox");
        else if (!*ret)
                r = err_set(err, ERR_UNIMPLEMENTED, "this daemon has no operations on Proxmox containers");
        json_decref(config);
        return r;
}

/* --- the answer ----------------------------------------------------------------------------------------------------
 */

struct reader {
        struct cli *cli;
        struct strbuf line;
        json_t *last; /* of the lines that are no progress */
};

static int take_line(struct reader *reader, const char *line, size_t len, struct err *err) {
        json_t *o;
        int r = json_load_bounded(line, len, VALUES_MAX, "the daemon's answer", &o, err);

        if (r < 0)
                return r;
        if (json_is_string(json_object_get(o, "log"))) {
                show_progress(json_string_value(json_object_get(o, "log")));
                json_decref(o);
                return 0;
        }
        json_decref(reader->last);
        reader->last = o;
        return 0;
}

static int on_data(const void *data, size_t len, void *userdata, struct err *err) {
        struct reader *reader = userdata;
        const char *end;
        int r = 0;

        strbuf_append(&reader->line, data, len);
        if (reader->line.overflow)
                return err_set(err, ERR_EXHAUSTED, "the daemon's answer is too long");
        while (r == 0 && reader->line.len > 0 && (end = memchr(reader->line.data, '\n', reader->line.len))) {
                size_t n = (size_t) (end - reader->line.data);

                if (n > 0)
                        r = take_line(reader, reader->line.data, n, err);
                strbuf_consume(&reader->line, n + 1);
        }
        return r;
}

static int raise_error(const json_t *error, struct err *err) {
        const char *name = json_string_value(json_object_get(error, "code"));
        const char *message = json_string_value(json_object_get(error, "message"));
        enum err_code code = ERR_UNKNOWN;

        for (enum err_code c = ERR_CANCELLED; c <= ERR_UNAUTHENTICATED; c++)
                if (str_eq(err_code_name(c), name))
                        code = c;
        if (code == ERR_INTERNAL || code == ERR_UNAUTHENTICATED) /* the hints for these are about other things */
                code = ERR_UNKNOWN;
        return err_set(err, code, "%s", message ?: "the daemon's answer makes no sense");
}

/* @ret: the last object of the answer, or all of it; json_unref() it. */
static int perform(struct cli *cli, const struct rest_values *v, const char *socket, json_t **ret, struct err *err) {
        static const char *const headers[] = { "Content-Type: application/json", NULL };
        const struct http_args http_args = { .unix_socket = socket, .stall_timeout_s = STALL_S };
        _cleanup_(http_response_done) struct http_response res = { 0 };
        _cleanup_(freep) char *url = url_of(v), *body = NULL;
        _cleanup_(json_unrefp) json_t *o = in_query(v->op) ? NULL : body_of(v), *answer = NULL;
        struct reader reader = { .cli = cli, .line = STRBUF(ANSWER_MAX) };
        struct http_request req = { .method = v->op->method,
                                    .url = url,
                                    .headers = headers,
                                    .allow_http = true,
                                    .attempts = 1,
                                    .once = true,
                                    .cancel_fd = -1,
                                    .deadline_ns = UINT64_MAX,
                                    .max_body = ANSWER_MAX };
        _cleanup_(http_freep) struct http *http = NULL;
        int r = http_new(&http_args, &http, err);

        if (r < 0)
                return r;
        body = o ? json_dumps(o, JSON_COMPACT) : NULL;
        req.body = body;
        req.body_len = body ? strlen(body) : 0;
        if (cli->timeout_ms)
                req.deadline_ns = clock_monotonic_ns() + cli->timeout_ms * UINT64_C(1000000);
        if (v->op->progress) {
                req.sink = on_data;
                req.userdata = &reader;
        }
        r = http_perform(http, &req, &res, err);
        strbuf_done(&reader.line);
        if (r < 0) {
                json_decref(reader.last);
                return err_wrap(err, "ask the daemon at %s", socket);
        }
        if (v->op->progress && res.status == 200)
                answer = reader.last;
        else
                answer = json_loadb(strbuf_str(&res.body), res.body.len, 0, NULL);
        if (!answer || res.status != 200 || json_object_get(answer, "error"))
                return raise_error(json_object_get(answer, "error"), err);
        *ret = TAKE_PTR(answer);
        return 0;
}

static int run(struct cli *cli, const struct cli_args *args, const struct rest_operation *op,
               const struct cli_verb *verb) {
        _cleanup_rest_values_ struct rest_values v = { .op = op };
        json_t *answer = NULL;
        const char *socket;
        struct err err;

        if (read_args(args, &v, &err) < 0)
                return cli_usage(verb, "%s", err.msg);
        if (find_socket(cli, &socket, &err) < 0 || perform(cli, &v, socket, &answer, &err) < 0)
                return cli_fail(&err);
        show_answer(cli, op, answer);
        json_decref(answer);
        return EXIT_FINE;
}

/* --- the verbs -----------------------------------------------------------------------------------------------------
 */

#define NOTHING(...)
#define OPTION(name_, metavar_, kind_, help_) { 0, name_, metavar_, help_ },
#define FLAG(name_, help_) { 0, name_, NULL, help_ },
#define WORD_OF(name_, metavar_, kind_, help_) metavar_ " "
#define NEEDED(name_, metavar_, kind_, help_) "--" name_ " " metavar_ " "
#define ONE(...) +1
#define LINE(name_, metavar_, kind_, help_) "  " metavar_ ": " help_ "\n"

#define X(id, function, verb_, method_, path_, progress_, columns_, help_, args_)                                      \
        static int run_##id(struct cli *cli, const struct cli_args *args) {                                            \
                return run(cli, args, &rest_operations[REST_##id], &verb_proxmox_##id);                                \
        }                                                                                                              \
        const struct cli_verb verb_proxmox_##id = {                                                                    \
                .name = "proxmox " verb_,                                                                              \
                .args = "" args_(WORD_OF, NEEDED, NOTHING, NOTHING),                                                   \
                .help = help_,                                                                                         \
                .description = "" args_(LINE, NOTHING, NOTHING, NOTHING) "\n" method_ " " path_                        \
                                                                         " (docs/proxmox.md: Operations).",            \
                .options = (const struct cli_option[]){ args_(NOTHING, OPTION, OPTION, FLAG){ 0 } },                   \
                .fn = run_##id,                                                                                        \
                .min_args = 0 args_(ONE, NOTHING, NOTHING, NOTHING),                                                   \
                .max_args = 0 args_(ONE, NOTHING, NOTHING, NOTHING),                                                   \
        };
REST_OPERATIONS(X)
