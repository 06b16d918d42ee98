/* SPDX-License-Identifier: Apache-2.0 */
#include "image/auth.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/base64.h"
#include "base/map.h"
#include "base/str.h"
#include "http/url.h"
#include "image/json.h"

enum {
        TOKEN_REPLY_MAX = 256 * 1024,
        TOKEN_MAX = 64 * 1024,
        SECRET_MAX = 64 * 1024,
        CACHE_MAX = 256,
        QUERY_MAX = 64 * 1024
};
enum { TOKEN_TTL_S = 60, TOKEN_TTL_MAX_S = 3600, BASIC_TTL_S = 300, TOKEN_MARGIN_S = 10 };

/* --- credentials ------------------------------------------------------------------------------------------------ */

char *secret_free(char *secret) {
        if (secret)
                explicit_bzero(secret, strlen(secret));
        free(secret);
        return NULL;
}

struct credentials *credentials_free(struct credentials *c) {
        if (!c)
                return NULL;
        (void) secret_free(c->username);
        (void) secret_free(c->password);
        (void) secret_free(c->identity_token);
        (void) secret_free(c->registry_token);
        free(c->server);
        free(c);
        return NULL;
}

static char *copy_or_null(const char *s) {
        return str_empty(s) ? NULL : xstrdup(s);
}

/* "https://index.docker.io/v1/" and the like: the host of it. */
static char *server_of(const char *address) {
        const char *host;

        if (str_empty(address))
                return NULL;
        host = strstr(address, "://");
        host = host ? host + 3 : address;
        return xstrndup(host, strcspn(host, "/"));
}

static int split_auth(struct credentials *c, const char *auth, struct err *err) {
        _cleanup_(secret_freep) char *plain = base64_plain(auth);
        char *colon = plain ? strchr(plain, ':') : NULL;

        if (!colon)
                return err_set(err, ERR_INVALID, "the credentials' \"auth\" is not base64 of user:password");
        c->username = xstrndup(plain, (size_t) (colon - plain));
        c->password = xstrdup(colon + 1);
        return 0;
}

static void take_fingerprint(struct credentials *c) {
        const char *const parts[] = { c->username, c->password, c->identity_token, c->registry_token, c->server };
        struct strbuf all = STRBUF(8 * SECRET_MAX);

        for (size_t i = 0; i < ELEMENTSOF(parts); i++)
                strbuf_printf(&all, "%zu:%s,", parts[i] ? strlen(parts[i]) : 0, parts[i] ?: "");
        digest_of(strbuf_str(&all), all.len, c->fingerprint);
        if (all.data)
                explicit_bzero(all.data, all.len);
        strbuf_done(&all);
}

int credentials_new(const struct image_auth *auth, struct credentials **ret, struct err *err) {
        static const struct image_auth nobody = { 0 };
        _cleanup_(credentials_freep) struct credentials *c = NULL;
        const char *const *fields = (const char *const *) (auth ?: &nobody);
        int r;

        for (size_t i = 0; i < sizeof(struct image_auth) / sizeof(char *); i++)
                if (fields[i] && (strlen(fields[i]) > SECRET_MAX || strpbrk(fields[i], "\r\n")))
                        return err_set(err, ERR_INVALID, "the credentials are too long or hold line breaks");
        if (!auth)
                auth = &nobody;
        c = xnew(struct credentials);
        c->username = copy_or_null(auth->username);
        c->password = c->username ? xstrdup(auth->password ?: "") : NULL;
        c->identity_token = copy_or_null(auth->identity_token);
        c->registry_token = copy_or_null(auth->registry_token);
        c->server = server_of(auth->server_address);
        if (!c->username && !str_empty(auth->auth)) {
                r = split_auth(c, auth->auth, err);
                if (r < 0)
                        return r;
        }
        take_fingerprint(c);
        *ret = TAKE_PTR(c);
        return 0;
}

bool credentials_are_empty(const struct credentials *c) {
        return !c->username && !c->identity_token && !c->registry_token;
}

/* --- cache ------------------------------------------------------------------------------------------------------ */

struct auth_cache {
        pthread_mutex_t lock;
        struct map *map; /* key -> struct cached */
};

struct cached {
        uint64_t expires_ns;
        char *header;
};

struct auth_cache *auth_cache_new(void) {
        struct auth_cache *c = xnew(struct auth_cache);

        (void) pthread_mutex_init(&c->lock, NULL);
        c->map = map_new();
        return c;
}

static void cached_free(struct cached *e) {
        if (!e)
                return;
        (void) secret_free(e->header);
        free(e);
}

static void empty(struct auth_cache *c) {
        const char *key;
        void *value;

        for (size_t it = 0; map_next(c->map, &it, &key, &value);)
                cached_free(value);
        (void) map_free(c->map);
        c->map = map_new();
}

struct auth_cache *auth_cache_free(struct auth_cache *c) {
        if (!c)
                return NULL;
        empty(c);
        (void) map_free(c->map);
        (void) pthread_mutex_destroy(&c->lock);
        free(c);
        return NULL;
}

char *auth_cache_get(struct auth_cache *c, const char *key) {
        const struct cached *e;
        char *copy = NULL;

        (void) pthread_mutex_lock(&c->lock);
        e = map_get(c->map, key);
        if (e && e->expires_ns > clock_monotonic_ns())
                copy = xstrdup(e->header);
        (void) pthread_mutex_unlock(&c->lock);
        return copy;
}

void auth_cache_put(struct auth_cache *c, const char *key, const char *header, uint64_t ttl_s) {
        struct cached *e = xnew(struct cached);

        e->header = xstrdup(header);
        e->expires_ns = clock_monotonic_ns() + ttl_s * 1000000000ull;
        (void) pthread_mutex_lock(&c->lock);
        /* It only saves round trips: starting over is cheaper than keeping order. */
        if (map_size(c->map) >= CACHE_MAX)
                empty(c);
        cached_free(map_set(c->map, key, e));
        (void) pthread_mutex_unlock(&c->lock);
}

void auth_cache_drop(struct auth_cache *c, const char *key) {
        (void) pthread_mutex_lock(&c->lock);
        cached_free(map_take(c->map, key));
        (void) pthread_mutex_unlock(&c->lock);
}

/* --- the protocol ----------------------------------------------------------------------------------------------- */

static char *prefixed(const char *scheme, const char *value) {
        char *header;

        if (asprintf(&header, "%s %s", scheme, value) < 0)
                abort();
        return header;
}

static char *basic_header(const struct credentials *c) {
        _cleanup_(secret_freep) char *plain = NULL, *encoded = NULL;

        if (asprintf(&plain, "%s:%s", c->username, c->password) < 0)
                abort();
        encoded = base64_text(plain, strlen(plain));
        return prefixed("Basic", encoded);
}

/* What goes into a header must not break out of it. */
static bool is_visible(const char *s) {
        for (; *s; s++)
                if (!isgraph((unsigned char) *s))
                        return false;
        return true;
}

static int read_token(const struct http_response *resp, char **ret_header, uint64_t *ret_ttl_s, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(4 * TOKEN_REPLY_MAX);
        _cleanup_(json_unrefp) json_t *doc = NULL;
        const char *token = "";
        uint64_t ttl = 0;
        int r = json_parse(strbuf_str(&resp->body), resp->body.len, "the token server's answer", &doc, err);

        if (r == 0)
                r = json_get_string(doc, "token", arena, &token, err);
        if (r == 0 && !*token)
                r = json_get_string(doc, "access_token", arena, &token, err);
        if (r == 0)
                r = json_get_u64(doc, "expires_in", &ttl, err);
        if (r < 0)
                return err_set(err, ERR_UNAVAILABLE, "the token server's answer makes no sense");
        if (!*token || strlen(token) > TOKEN_MAX || !is_visible(token))
                return err_set(err, ERR_UNAVAILABLE, "the token server's answer holds no usable token");
        ttl = ttl ? MIN_OF(ttl, (uint64_t) TOKEN_TTL_MAX_S) : TOKEN_TTL_S;
        *ret_ttl_s = ttl > 2 * TOKEN_MARGIN_S ? ttl - TOKEN_MARGIN_S : ttl / 2;
        *ret_header = prefixed("Bearer", token);
        return 0;
}

/* Scopes stand in a challenge with blanks between them; in a query each is a parameter of its own. */
static void add_scope(struct strbuf *out, const char *scope, size_t len, bool form, struct arena *arena) {
        const char *one = url_encode(arena_strndup(arena, scope, len), arena), *last = strrchr(strbuf_str(out), '&');

        if (len == 0)
                return;
        if (form && last && str_after(last, "&scope="))
                strbuf_printf(out, "%%20%s", one);
        else
                strbuf_printf(out, "&scope=%s", one);
}

/* The challenge's parameters as a query or form: service and scopes. */
static const char *token_query(const struct auth_request *req, const struct challenge *c, bool form,
                               struct arena *arena) {
        const char *service = challenge_param(c, "service"), *scope = challenge_param(c, "scope");
        _cleanup_strbuf_ struct strbuf out = STRBUF(QUERY_MAX);

        if (str_empty(scope) && *req->repository)
                scope = arena_printf(arena, "repository:%s:pull", req->repository);
        if (service)
                strbuf_printf(&out, "&service=%s", url_encode(service, arena));
        for (const char *s = scope ?: ""; *s; s += strspn(s, " ")) {
                size_t len = strcspn(s, " ");

                add_scope(&out, s, len, form, arena);
                s += len;
        }
        for (const char *const *s = req->scopes; s && *s; s++)
                if (!scope || !strstr(scope, *s))
                        add_scope(&out, *s, strlen(*s), form, arena);
        return arena_strdup(arena, out.len ? strbuf_str(&out) + 1 : "");
}

static int ask_token_server(const struct auth_request *req, const char *realm, const struct challenge *challenge,
                            struct arena *arena, struct http_response *resp, struct err *err) {
        static const char *const form_headers[] = { "Content-Type: application/x-www-form-urlencoded",
                                                    "Accept: application/json", NULL };
        const struct credentials *c = req->credentials;
        const char *query = token_query(req, challenge, c && c->identity_token, arena);
        _cleanup_(secret_freep) char *basic = NULL, *form = NULL;
        struct http_request http = { .headers = form_headers + 1,
                                     .ca_file = req->ca_file,
                                     .allow_http = req->allow_http,
                                     .is_foreign = true,
                                     .cancel_fd = req->cancel_fd,
                                     .deadline_ns = req->deadline_ns,
                                     .max_body = TOKEN_REPLY_MAX };

        if (c && c->identity_token) {
                if (asprintf(&form, "grant_type=refresh_token&client_id=proxmox-lxcri&%s&refresh_token=%s", query,
                             url_encode(c->identity_token, arena)) < 0)
                        abort();
                http.method = "POST";
                http.headers = form_headers;
                http.url = realm;
                http.body = form;
                http.body_len = strlen(form);
        } else {
                http.url = arena_printf(arena, "%s%c%s", realm, strchr(realm, '?') ? '&' : '?', query);
                http.authorization = basic = c && c->username ? basic_header(c) : NULL;
        }
        return http_perform(req->http, &http, resp, err);
}

static int answer_bearer(const struct auth_request *req, const struct challenge *c, char **ret_header,
                         uint64_t *ret_ttl_s, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 * URL_MAX);
        const char *param = challenge_param(c, "realm"), *realm, *host;
        struct http_response resp;
        int r;

        if (str_empty(param) || url_normalize(param, arena, &realm, err) < 0)
                return err_set(err, ERR_UNAVAILABLE, "the registry names no usable token server");
        host = url_host(realm, arena);
        if (!url_is_https(realm) && !req->allow_http)
                return err_set(err, ERR_PRECONDITION, "the registry's token server %s is not on https", host);
        r = ask_token_server(req, realm, c, arena, &resp, err);
        if (r < 0)
                err_wrap(err, "get a token from %s", host);
        else if (resp.status == 200)
                r = read_token(&resp, ret_header, ret_ttl_s, err);
        else if (resp.status >= 500 || resp.status == 429)
                r = err_set(err, ERR_UNAVAILABLE, "get a token from %s: HTTP %u", host, resp.status);
        else
                r = err_set(err, resp.status == 403 ? ERR_DENIED : ERR_UNAUTHENTICATED,
                            "get a token from %s: HTTP %u%s", host, resp.status,
                            req->credentials ? "" : " (no credentials were given)");
        if (resp.body.data)
                explicit_bzero(resp.body.data, resp.body.len);
        http_response_done(&resp);
        return r;
}

int auth_answer(const struct auth_request *req, const struct challenges *challenges, char **ret_header,
                uint64_t *ret_ttl_s, struct err *err) {
        const struct challenge *bearer = challenge_find(challenges, "bearer");
        bool have_password = req->credentials && req->credentials->username;

        if (bearer)
                return answer_bearer(req, bearer, ret_header, ret_ttl_s, err);
        if (!challenge_find(challenges, "basic"))
                return err_set(err, ERR_UNAUTHENTICATED,
                               "HTTP 401, and the registry names no way to log in that we know");
        if (!have_password)
                return err_set(err, ERR_UNAUTHENTICATED,
                               "HTTP 401: user name and password are wanted, none were given");
        *ret_header = basic_header(req->credentials);
        *ret_ttl_s = BASIC_TTL_S;
        return 0;
}
