/* SPDX-License-Identifier: Apache-2.0 */
/* A request to a registry, with the credentials it takes; pulls and pushes share it. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "http/url.h"
#include "image/json.h"
#include "image/source.h"

/* --- errors ----------------------------------------------------------------------------------------------------- */

/* ": CODE: message" of the API's error body, printable and short; "" when there is none. */
static const char *api_error(const struct http_response *resp, struct arena *arena) {
        _cleanup_(json_unrefp) json_t *doc = NULL;
        const json_t *first;
        const char *code, *message;
        struct err err;
        char *text;

        if (json_parse(strbuf_str(&resp->body), resp->body.len, "", &doc, &err) < 0)
                return "";
        first = json_array_get(json_object_get(doc, "errors"), 0);
        code = json_string_value(json_object_get(first, "code"));
        message = json_string_value(json_object_get(first, "message"));
        if (!code)
                return "";
        text = arena_printf(arena, ": %.60s%s%.200s", code, message ? ": " : "", message ?: "");
        for (char *p = text; *p; p++)
                if (!isprint((unsigned char) *p))
                        *p = '?';
        return text;
}

static enum err_code code_of(unsigned status) {
        switch (status) {
        case 401:
                return ERR_UNAUTHENTICATED;
        case 403:
                return ERR_DENIED;
        case 404:
                return ERR_NOT_FOUND;
        case 408:
        case 429:
                return ERR_UNAVAILABLE;
        default:
                return status >= 500 ? ERR_UNAVAILABLE : ERR_UNKNOWN;
        }
}

int source_status_error(const struct http_response *resp, struct arena *arena, struct err *err) {
        const char *elsewhere = resp->url ? url_host(resp->url, arena) : NULL;

        return err_set(err, code_of(resp->status), "HTTP %u%s%.200s%s", resp->status, elsewhere ? " from " : "",
                       elsewhere ?: "", api_error(resp, arena));
}

/* --- one request ------------------------------------------------------------------------------------------------ */

const char *source_next_page(const struct http_response *resp, const char *base, struct arena *arena) {
        const char *link = http_response_header(resp, "link", NULL), *end, *url;
        struct err ignored;

        if (!link || *link != '<' || !(end = strchr(link, '>')) || !strcasestr(end, "rel=\"next\""))
                return NULL;
        if (url_redirect(base, arena_strndup(arena, link + 1, (size_t) (end - link - 1)), arena, &url, &ignored) < 0)
                return NULL;
        return url_same_origin(base, url) ? url : NULL;
}

static int with_scheme(struct http *http, const struct endpoint *e, char scheme, const char *path,
                       struct http_request *req, struct http_response *resp, struct err *err) {
        _cleanup_(freep) char *url = NULL;

        if (asprintf(&url, "%s://%s%s%s%s", scheme == 'p' ? "http" : "https", e->host, e->base, path, e->query) < 0)
                abort();
        req->url = url;
        return http_perform(http, req, resp, err);
}

/* Where plain http is allowed, https is tried first and what answers is remembered. */
static int ask(struct source *s, const struct endpoint *e, const char *path, struct http_request *req,
               struct http_response *resp, struct err *err) {
        char scheme = e->allow_http ? registries_scheme(s->registries, e->host) : 't';
        unsigned attempts = req->attempts;
        int r;

        if (scheme == 0) {
                req->attempts = 1;
                r = with_scheme(s->registries->http, e, 't', path, req, resp, err);
                req->attempts = attempts;
                if (resp->failure == HTTP_FAILURE_NONE)
                        registries_set_scheme(s->registries, e->host, 't');
                if (resp->failure != HTTP_FAILURE_TLS && resp->failure != HTTP_FAILURE_CONNECT)
                        return r;
                http_response_done(resp);
                scheme = 'p';
        }
        r = with_scheme(s->registries->http, e, scheme, path, req, resp, err);
        if (scheme == 'p' && resp->failure == HTTP_FAILURE_NONE)
                registries_set_scheme(s->registries, e->host, 'p');
        else if (e->allow_http && (resp->failure == HTTP_FAILURE_CONNECT || resp->failure == HTTP_FAILURE_TLS))
                registries_set_scheme(s->registries, e->host, 0);
        return r;
}

/* Answers the 401 in @resp. */
static int log_in(struct source *s, const struct endpoint *e, const struct http_response *resp, char **ret_header,
                  struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(512 * 1024);
        const struct auth_request req = { .http = s->registries->http,
                                          .credentials = e->creds,
                                          .repository = s->repository,
                                          .scopes = s->scopes,
                                          .ca_file = e->ca_file,
                                          .allow_http = e->allow_http,
                                          .cancel_fd = s->cancel_fd,
                                          .deadline_ns = s->deadline_ns };
        struct challenges challenges = { 0 };
        const char *value = NULL;
        uint64_t ttl_s;
        int r;

        while ((value = http_response_header(resp, "www-authenticate", value)))
                if (challenge_parse(value, arena, &challenges, err) < 0)
                        break;
        r = auth_answer(&req, &challenges, ret_header, &ttl_s, err);
        if (r == 0)
                auth_cache_put(s->registries->auth, e->auth_key, *ret_header, ttl_s);
        return r;
}

const char *source_url(struct source *s, const struct endpoint *e, const char *path, struct arena *arena) {
        char scheme = e->allow_http ? registries_scheme(s->registries, e->host) : 't';

        return arena_printf(arena, "%s://%s%s%s%s", scheme == 'p' ? "http" : "https", e->host, e->base, path, e->query);
}

/* Somewhere else, whither the registry sends us: without what is for the registry alone. */
static int request_elsewhere(struct source *s, const struct endpoint *e, const char *url, struct http_request *req,
                             struct http_response *resp, struct err *err) {
        req->url = url;
        req->is_foreign = true;
        req->ca_file = e->ca_file;
        req->allow_http = e->allow_http;
        req->cancel_fd = s->cancel_fd;
        req->deadline_ns = s->deadline_ns;
        return http_perform(s->registries->http, req, resp, err);
}

static int ask_at(struct source *s, const struct endpoint *e, const char *path, struct http_request *req,
                  struct http_response *resp, struct err *err) {
        if (*path == '/')
                return ask(s, e, path, req, resp, err);
        req->url = path;
        return http_perform(s->registries->http, req, resp, err);
}

static bool is_of_registry(struct source *s, const struct endpoint *e, const char *url) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(16 * 1024);

        return url_same_origin(url, source_url(s, e, "", arena));
}

int source_request(struct source *s, const struct endpoint *e, const char *path, struct http_request *req,
                   struct http_response *resp, struct err *err) {
        _cleanup_(secret_freep) char *header = NULL;
        bool direct = e->creds && e->creds->registry_token;
        int r;

        if (*path != '/' && !is_of_registry(s, e, path))
                return request_elsewhere(s, e, path, req, resp, err);
        if (direct) {
                if (asprintf(&header, "Bearer %s", e->creds->registry_token) < 0)
                        abort();
        } else {
                header = auth_cache_get(s->registries->auth, e->auth_key);
        }
        req->ca_file = e->ca_file;
        req->cert_file = e->cert_file;
        req->key_file = e->key_file;
        req->allow_http = e->allow_http;
        req->cancel_fd = s->cancel_fd;
        req->deadline_ns = s->deadline_ns;
        req->authorization = header;
        r = ask_at(s, e, path, req, resp, err);
        if (r < 0 || resp->status != 401)
                return r;
        /* Whoever the registry has led to does not say who gets its credentials. */
        if (resp->url && !is_of_registry(s, e, resp->url))
                return 0;
        auth_cache_drop(s->registries->auth, e->auth_key);
        if (direct)
                return 0;
        header = secret_free(header);
        r = log_in(s, e, resp, &header, err);
        req->authorization = header;
        http_response_done(resp);
        return r < 0 ? r : ask_at(s, e, path, req, resp, err);
}
