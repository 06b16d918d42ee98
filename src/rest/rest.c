/* SPDX-License-Identifier: Apache-2.0 */
/* rest - the socket, and from a request to an answer. */
#include "rest/rest.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/sock.h"
#include "base/str.h"
#include "http/server.h"
#include "rest/call.h"
#include "rest/describe.h"

enum { BODY_MAX = 64 * 1024, PENDING_MAX = 1 << 20, ARENA_MAX = 64 << 20 };

static rest_function *const functions[REST_OPERATIONS_N] = {
#define X(id, function, ...) [REST_##id] = function,
        REST_OPERATIONS(X)
#undef X
};

static unsigned status_of(enum err_code code) {
        static const unsigned statuses[] = {
                [ERR_CANCELLED] = 503,       [ERR_INVALID] = 400,  [ERR_DEADLINE] = 504,      [ERR_NOT_FOUND] = 404,
                [ERR_EXISTS] = 409,          [ERR_DENIED] = 403,   [ERR_EXHAUSTED] = 507,     [ERR_PRECONDITION] = 409,
                [ERR_ABORTED] = 409,         [ERR_INTERNAL] = 500, [ERR_UNIMPLEMENTED] = 501, [ERR_UNAVAILABLE] = 503,
                [ERR_UNAUTHENTICATED] = 502, /* it is ours that Proxmox does not take */
        };

        return code < ELEMENTSOF(statuses) && statuses[code] ? statuses[code] : 500;
}

/* --- the answer ----------------------------------------------------------------------------------------------------
 */

static void begin(struct rest_call *c, unsigned status, const char *type) {
        if (!c->begun)
                http_call_begin(c->http, status, type);
        c->begun = true;
}

/* A line; takes @value. */
static void send_json(struct rest_call *c, json_t *value) {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        if (text) {
                http_call_write(c->http, text, strlen(text));
                http_call_write(c->http, "\n", 1);
        }
        free(text);
        json_decref(value);
}

/* Who reads slowly misses some: the operation does not wait. */
static void send_line(const char *text, void *userdata) {
        struct rest_call *c = userdata;

        begin(c, 200, "application/x-ndjson");
        if (http_call_pending(c->http) > PENDING_MAX) {
                c->left_out++;
                return;
        }
        if (c->left_out > 0)
                send_json(c, json_pack("{s:s, s:I}", "log", "...", "left_out", (json_int_t) c->left_out));
        c->left_out = 0;
        send_json(c, json_pack("{s:o}", "log", rest_text(text)));
}

void rest_tell(struct rest_call *c, const char *fmt, ...) {
        _cleanup_(freep) char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        text = xvprintf(fmt, ap);
        va_end(ap);
        send_line(text, c);
}

static void send_error(struct rest_call *c, const struct err *err) {
        json_t *o = json_object();

        rest_put(o, "code", err_code_name(err->code));
        if (err->kind)
                rest_put(o, "kind", pve_kind_name(pve_kind(err)));
        rest_put(o, "message", err->msg);
        begin(c, status_of(err->code), "application/json");
        send_json(c, json_pack("{s:o}", "error", o));
}

/* Takes @result, which may be NULL. */
static void send_result(struct rest_call *c, bool progress, json_t *result) {
        json_t *o = json_object();

        if (!progress) {
                json_decref(o);
                begin(c, 200, "application/json");
                send_json(c, result ?: json_object());
                return;
        }
        (void) json_object_set_new(o, "done", json_true());
        if (c->warnings > 0)
                (void) json_object_set_new(o, "warnings", json_integer(c->warnings));
        if (result)
                (void) json_object_set_new(o, "result", result);
        begin(c, 200, "application/x-ndjson");
        send_json(c, o);
}

/* --- the request ---------------------------------------------------------------------------------------------------
 */

static int read_request(struct http_call *http, struct rest_values *v, struct err *err) {
        const char *name, *value, *body;
        int r = rest_match(http_call_method(http), http_call_path(http), v, err);
        size_t len;

        for (size_t i = 0; r == 0 && http_call_query(http, i, &name, &value); i++) {
                _cleanup_(freep) char *n = rest_decode(name, strlen(name));
                _cleanup_(freep) char *text = value ? rest_decode(value, strlen(value)) : xstrdup("true");

                if (!n || !text)
                        return err_set(err, ERR_INVALID, "the query is not well encoded");
                r = rest_set(v, n, text, err);
        }
        if (r < 0)
                return r;
        body = http_call_body(http, &len);
        r = rest_set_body(v, body, len, err);
        return r < 0 ? r : rest_check(v, err);
}

static int run(struct rest_call *c, json_t **ret, struct err *err) {
        int r = read_request(c->http, &c->values, err);
        const struct rest_operation *op = c->values.op;

        if (r < 0)
                return r;
        r = functions[op - rest_operations](c, ret, err);
        if (r < 0)
                log_warn("operation failed", "operation", op->verb, "error", err->msg, NULL);
        else if (!str_eq(op->method, "GET"))
                log_info("operation done", "operation", op->verb, "path", http_call_path(c->http), NULL);
        return r;
}

static void answer(struct http_call *http, void *userdata) {
        struct rest *rest = userdata;
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_MAX);
        struct rest_call c = { .rest = &rest->args,
                               .pve = rest->args.pve,
                               .arena = arena,
                               .until = { .cancel_fd = rest->stop_fd, .deadline_ns = UINT64_MAX },
                               .http = http };
        json_t *result = NULL;
        struct err err;

        c.progress = (struct pve_progress){ send_line, &c };
        if (str_eq(http_call_path(http), "/v1") && str_eq(http_call_method(http), "GET"))
                send_result(&c, false, rest_describe());
        else if (run(&c, &result, &err) < 0)
                send_error(&c, &err);
        else
                send_result(&c, c.values.op->progress, json_incref(result));
        json_decref(result);
        rest_values_done(&c.values);
}

/* --- the socket ----------------------------------------------------------------------------------------------------
 */

int rest_new(const struct rest_args *args, struct rest **ret, struct err *err) {
        _cleanup_(rest_freep) struct rest *rest = xnew(struct rest);
        struct http_server_args server = { .max_body = BODY_MAX, .answer = answer, .userdata = rest };
        int r;

        rest->args = *args;
        rest->stop_fd = eventfd(0, EFD_CLOEXEC);
        if (rest->stop_fd < 0)
                return err_sys(err, errno, "eventfd");
        r = sock_listen_unix(args->socket, SOCK_STREAM | SOCK_NONBLOCK, 0600, &server.listen_fd, err);
        if (r == 0)
                r = http_server_new(&server, &rest->server, err);
        if (r < 0)
                return err_wrap(err, "serve operations on Proxmox containers");
        *ret = TAKE_PTR(rest);
        return 0;
}

struct rest *rest_free(struct rest *rest) {
        if (!rest)
                return NULL;
        if (rest->server)
                (void) unlink(rest->args.socket);
        if (rest->stop_fd >= 0)
                (void) eventfd_write(rest->stop_fd, 1);
        (void) http_server_free(rest->server);
        (void) fd_close(rest->stop_fd);
        free(rest);
        return NULL;
}
