/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/client.h"

#include <string.h>
#include <time.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"

enum {
        CONNECT_TIMEOUT_MS = 5000,
        STALL_TIMEOUT_S = 60,
        TIMEOUT_MS = 35000,
        UPLOAD_TIMEOUT_MS = 3600000,
        ROUNDS = 2,
        TEXT_MAX = 600,
        NODE_OPERATIONS = 8,
        STORAGE_OPERATIONS = 4
};

int pve_new(const struct pve_args *args, struct pve **ret, struct err *err) {
        _cleanup_(pve_freep) struct pve *p = xnew(struct pve);
        const struct http_args http = { .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                        .stall_timeout_s = STALL_TIMEOUT_S,
                                        .fingerprints = args->fingerprints };
        int r = hosts_new(args->hosts, &p->hosts, err);

        pthread_mutex_init(&p->seen_lock, NULL);
        if (r == 0)
                r = auth_new(args, &p->auth, err);
        if (r == 0)
                r = http_new(&http, &p->http, err);
        if (r < 0)
                return r;
        p->nodes = gates_new(args->node_operations ?: NODE_OPERATIONS);
        p->storages = gates_new(args->storage_operations ?: STORAGE_OPERATIONS);
        p->ca_file = args->ca_file ? xstrdup(args->ca_file) : NULL;
        *ret = TAKE_PTR(p);
        return 0;
}

struct pve *pve_free(struct pve *p) {
        if (!p)
                return NULL;
        (void) http_free(p->http);
        (void) auth_free(p->auth);
        (void) hosts_free(p->hosts);
        (void) gates_free(p->nodes);
        (void) gates_free(p->storages);
        for (size_t k = 0; k < PVE_TASKS_SEEN; k++)
                free(p->seen[k]);
        pthread_mutex_destroy(&p->seen_lock);
        free(p->ca_file);
        free(p);
        return NULL;
}

const char *pve_identity(const struct pve *p) {
        return auth_identity(p->auth);
}

int64_t pve_server_time_s(const struct pve *p) {
        return (int64_t) time(NULL) + p->clock_ahead_s;
}

/* Clocks of nodes are alike, ours need not be. */
static void note_time(struct pve *p, const struct http_response *resp) {
        int64_t date = http_response_date_s(resp);

        if (date > 0)
                p->clock_ahead_s = date - (int64_t) time(NULL);
}

static const char *method_of(const struct pve_request *req) {
        return req->method ?: "GET";
}

static bool reads(const struct pve_request *req) {
        return str_eq(method_of(req), "GET");
}

/* DELETE with a body is refused by the server. */
static bool has_query(const struct pve_request *req) {
        return reads(req) || str_eq(method_of(req), "DELETE");
}

/* Paths are ours, but names in them come from configurations and answers. */
static int check_request(const struct pve_request *req, struct err *err) {
        if (*req->path != '/' || strstr(req->path, "//") || strstr(req->path, "/.") || str_ends_with(req->path, "/"))
                return err_set(err, ERR_INVALID, "\"%.200s\" is not a path of the API", req->path);
        if (req->params && req->params->encoded.overflow)
                return err_set(err, ERR_EXHAUSTED, "%s %s: the parameters are larger than %d bytes", method_of(req),
                               req->path, PVE_PARAMS_MAX);
        return 0;
}

static void make_url(const struct pve_request *req, const char *host, struct strbuf *url) {
        strbuf_printf(url, "https://%s/api2/json", host);
        pve_encode_path(url, req->path);
        if (has_query(req) && req->params && req->params->encoded.len > 0)
                strbuf_printf(url, "?%s", strbuf_str(&req->params->encoded));
}

static unsigned timeout_ms(const struct pve_request *req) {
        return req->timeout_ms ?: req->parts ? UPLOAD_TIMEOUT_MS : TIMEOUT_MS;
}

/* A host's own timeout, or the caller's when that is sooner. */
static uint64_t attempt_deadline(const struct pve_request *req) {
        return MIN_OF(req->until->deadline_ns, clock_monotonic_ns() + timeout_ms(req) * 1000000ull);
}

static int send_request(struct pve *p, const struct pve_request *req, const char *host,
                        const struct auth_headers *headers, struct http_response *ret, struct err *err) {
        _cleanup_strbuf_ struct strbuf url = STRBUF(PVE_PARAMS_MAX + 4096);
        const char *lines[] = { secret_text(headers->cookie), reads(req) ? NULL : secret_text(headers->csrf), NULL };
        struct http_request http = { .method = method_of(req),
                                     .headers = lines,
                                     .authorization = secret_text(headers->authorization),
                                     .parts = req->parts,
                                     .ca_file = p->ca_file,
                                     .attempts = 1,
                                     .once = !reads(req) && !req->repeatable,
                                     .no_redirects = true,
                                     .cancel_fd = req->until->cancel_fd,
                                     .deadline_ns = attempt_deadline(req),
                                     .max_body = PVE_BODY_MAX };

        make_url(req, host, &url);
        http.url = strbuf_str(&url);
        if (!has_query(req) && req->params) {
                http.body = strbuf_str(&req->params->encoded);
                http.body_len = req->params->encoded.len;
        }
        return http_perform(p->http, &http, ret, err);
}

/* 595: pveproxy had no connection to the node that the request is for. After the others it may have. */
static bool is_gateway_error(unsigned status) {
        return (status >= 502 && status <= 504) || (status >= 595 && status <= 599);
}

static void describe(const struct pve_request *req, const char *host, const struct http_response *resp, int r,
                     const struct err *err, char *out, size_t size) {
        const char *why = r < 0 ? err->msg : resp->reason, *rest = str_after(why, host);

        if (r < 0 && err->code == ERR_DEADLINE)
                (void) snprintf(out, size, "no answer within %u s", timeout_ms(req) / 1000);
        else if (str_empty(why))
                (void) snprintf(out, size, "HTTP %u", resp->status);
        else
                (void) snprintf(out, size, "%.*s", (int) size - 1, rest ? rest + strspn(rest, ": ") : why);
}

/* Time is over, or what went wrong (a limit, a file) would everywhere. */
static bool is_final(const struct pve_request *req, const struct http_response *resp, int r, const struct err *err) {
        if (r == 0 || resp->failure == HTTP_FAILURE_CERT)
                return false;
        return clock_monotonic_ns() >= req->until->deadline_ns ||
               (err->code != ERR_UNAVAILABLE && err->code != ERR_DEADLINE);
}

/* No answer of the API came from @host. Raises why; true when another host may be asked. */
static bool may_go_on(const struct pve_request *req, const char *host, const struct http_response *resp, int r,
                      struct err *err) {
        bool repeatable = reads(req) || req->repeatable;
        bool sent = resp->sent && resp->status != 595;
        enum pve_kind kind;
        char why[TEXT_MAX];

        describe(req, host, resp, r, err, why, sizeof(why));
        if (is_final(req, resp, r, err)) {
                (void) err_wrap(err, "%s %s at %s", method_of(req), req->path, host);
                err->kind = !repeatable && sent ? PVE_LOST : PVE_NONE;
                return false;
        }
        if (r == 0)
                kind = pve_kind_of(resp->status, "");
        else if (resp->failure == HTTP_FAILURE_CERT)
                kind = PVE_UNTRUSTED;
        else
                kind = PVE_UNREACHABLE;
        if (!repeatable && sent)
                kind = PVE_LOST;
        (void) pve_raise(err, kind, "%s %s at %s: %s", method_of(req), req->path, host, why);
        return kind != PVE_LOST;
}

int pve_exchange(struct pve *p, const struct pve_request *req, const struct auth_headers *headers,
                 struct http_response *ret, const char **ret_host, struct err *err) {
        size_t order[HOSTS_MAX], n;
        struct err telling;
        int r = check_request(req, err);

        *ret = (struct http_response){ 0 };
        if (r < 0)
                return r;
        for (unsigned round = 0;; round++) {
                n = hosts_order(p->hosts, clock_monotonic_ns(), order);
                for (size_t i = 0; i < n; i++) {
                        const char *host = hosts_name(p->hosts, order[i]);

                        http_response_done(ret);
                        r = send_request(p, req, host, headers, ret, err);
                        *ret_host = host;
                        if (r == 0) {
                                hosts_worked(p->hosts, order[i]);
                                note_time(p, ret);
                        }
                        if (r == 0 && !is_gateway_error(ret->status))
                                return 0;
                        if (!may_go_on(req, host, ret, r, err))
                                return -(int) err->code;
                        if (r < 0)
                                hosts_failed(p->hosts, order[i], clock_monotonic_ns());
                        auth_headers_hide(headers, err->msg);
                        /* That one is not there says less than what another one said. */
                        if ((round == 0 && i == 0) || pve_kind(err) != PVE_UNREACHABLE)
                                telling = *err;
                        log_debug("Proxmox VE host passed over", "host", host, "error", err->msg, NULL);
                }
                if (round + 1 == ROUNDS) {
                        *err = telling;
                        return n == 1 ? -(int) err->code : err_wrap(err, "none of %zu hosts did it, such as", n);
                }
                r = http_pause(req->until->cancel_fd, req->until->deadline_ns, http_backoff_ms(round), err);
                if (r < 0)
                        return r;
        }
}

/* "net0: wrong; memory: too small": what Proxmox says of parameters. */
static void list_errors(const json_t *errors, struct strbuf *text) {
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) errors, key, value) {
                const char *s = json_string_value(value) ?: "?";

                /* Some messages end with a line break. */
                strbuf_printf(text, "%s%s: %.*s", text->len > 0 ? "; " : "", key,
                              (int) (strlen(s) - str_ends_with(s, "\n")), s);
        }
}

static int raise_answer(const struct pve_request *req, const char *host, const struct http_response *resp,
                        struct err *err) {
        _cleanup_(json_unrefp) json_t *body = NULL;
        _cleanup_strbuf_ struct strbuf text = STRBUF(HTTP_ERROR_BODY_MAX);
        struct err ignored;
        enum pve_kind kind;

        if (json_load_bounded_nul(strbuf_str(&resp->body), resp->body.len, PVE_VALUES_MAX, "answer", &body, &ignored) ==
            0) {
                list_errors(json_object_get(body, "errors"), &text);
                if (text.len == 0)
                        strbuf_puts(&text, pve_json_str(body, "message") ?: "");
        }
        if (text.len == 0)
                strbuf_puts(&text, resp->reason);
        kind = pve_kind_of(resp->status, strbuf_str(&text));
        if (text.len == 0 || kind == PVE_FOREIGN)
                strbuf_printf(&text, "%sHTTP %u", text.len > 0 ? ", " : "", resp->status);
        pve_one_line(text.data, TEXT_MAX);
        return pve_raise(err, kind, "%s %s at %s: %s", method_of(req), req->path, host, text.data);
}

int pve_read_answer(const struct pve_request *req, const char *host, const struct http_response *resp, json_t **ret,
                    struct err *err) {
        struct err why;

        if (resp->status < 200 || resp->status > 299)
                return raise_answer(req, host, resp, err);
        if (json_load_bounded_nul(strbuf_str(&resp->body), resp->body.len, PVE_VALUES_MAX, "the answer", ret, &why) <
            0) {
                pve_one_line(why.msg, TEXT_MAX);
                return pve_raise(err, PVE_FOREIGN, "%s %s at %s: %s", method_of(req), req->path, host, why.msg);
        }
        return 0;
}

int pve_call(struct pve *p, const struct pve_request *req, json_t **ret, struct err *err) {
        bool again;
        int r;

        for (unsigned attempt = 0;; attempt++) {
                struct auth_headers headers;
                struct http_response resp = { 0 };
                const char *host;

                r = auth_get(p->auth, p, req->until, &headers, err);
                if (r == 0)
                        r = pve_exchange(p, req, &headers, &resp, &host, err);
                /* A refused request has done nothing. */
                again = r == 0 && attempt == 0 && resp.status == 401 && auth_give_up(p->auth, &headers);
                if (r == 0 && !again)
                        r = pve_read_answer(req, host, &resp, ret, err);
                if (r < 0)
                        auth_headers_hide(&headers, err->msg);
                auth_headers_done(&headers);
                http_response_done(&resp);
                if (!again)
                        return r;
        }
}
