/* SPDX-License-Identifier: Apache-2.0 */
#include "image/registry.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "http/url.h"
#include "image/auth-file.h"
#include "image/rewrite.h"
#include "image/source.h"

enum { HOSTS_REMEMBERED_MAX = 1024 };

static const char *copy_or_null(const char *s) {
        return s ? xstrdup(s) : NULL;
}

static void conf_done(struct registry_conf *c) {
        for (const char *const *m = c->mirrors; m && *m; m++)
                free((char *) *m);
        free((void *) c->mirrors);
        free((char *) c->host);
        free((char *) c->ca_file);
        free((char *) c->cert_file);
        free((char *) c->key_file);
}

struct registries *registries_free(struct registries *r) {
        if (!r)
                return NULL;
        for (size_t i = 0; i < r->n_confs; i++)
                conf_done(&r->confs[i]);
        for (size_t i = 0; i < r->n_confs; i++)
                (void) rewrites_free(r->rewrites[i]);
        free(r->rewrites);
        free(r->confs);
        free(r->auth_file);
        (void) http_free(r->http);
        (void) auth_cache_free(r->auth);
        (void) map_free(r->plain_hosts);
        (void) map_free(r->tls_hosts);
        (void) pthread_mutex_destroy(&r->lock);
        free(r);
        return NULL;
}

/* Mirrors become parts of URLs: only what a reference could hold. */
static int check_conf(const struct registry_conf *c, struct err *err) {
        static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]/";

        if (str_empty(c->host))
                return err_set(err, ERR_INVALID, "a registry's host is empty");
        for (const char *const *m = c->mirrors; m && *m; m++)
                if (!**m || **m == '/' || strspn(*m, good) != strlen(*m) || strstr(*m, ".."))
                        return err_set(err, ERR_INVALID,
                                       "registry %.200s: mirror \"%.200s\" is not host[:port][/prefix]", c->host, *m);
        return 0;
}

int registries_new(const struct registry_conf *confs, size_t n, const char *auth_file, struct registries **ret,
                   struct err *err) {
        struct registries *r;
        int ret_code = 0;

        for (size_t i = 0; ret_code == 0 && i < n; i++)
                ret_code = check_conf(&confs[i], err);
        if (ret_code < 0)
                return ret_code;
        r = xnew(struct registries);
        (void) pthread_mutex_init(&r->lock, NULL);
        r->confs = xcalloc(n + 1, sizeof(*r->confs));
        for (size_t i = 0; i < n; i++)
                r->confs[i] = (struct registry_conf){ .host = xstrdup(confs[i].host),
                                                      .mirrors = (const char *const *) xstrv_copy(confs[i].mirrors),
                                                      .insecure = confs[i].insecure,
                                                      .ca_file = copy_or_null(confs[i].ca_file),
                                                      .cert_file = copy_or_null(confs[i].cert_file),
                                                      .key_file = copy_or_null(confs[i].key_file) };
        r->n_confs = n;
        r->rewrites = xcalloc(n + 1, sizeof(*r->rewrites));
        r->auth_file = str_empty(auth_file) ? NULL : xstrdup(auth_file);
        r->auth = auth_cache_new();
        r->plain_hosts = map_new();
        r->tls_hosts = map_new();
        for (size_t i = 0; ret_code == 0 && i < n; i++)
                if ((ret_code = rewrites_new(confs[i].rewrites, &r->rewrites[i], err)) < 0)
                        (void) err_wrap(err, "registry %.200s", confs[i].host);
        if (ret_code == 0)
                ret_code = http_new(&(struct http_args){ 0 }, &r->http, err);
        if (ret_code < 0) {
                (void) registries_free(r);
                return ret_code;
        }
        *ret = r;
        return 0;
}

void registries_trim(struct registries *r) {
        http_trim(r->http);
}

char registries_scheme(struct registries *r, const char *host) {
        char scheme;

        (void) pthread_mutex_lock(&r->lock);
        scheme = map_get(r->plain_hosts, host) ? 'p' : map_get(r->tls_hosts, host) ? 't' : 0;
        (void) pthread_mutex_unlock(&r->lock);
        return scheme;
}

void registries_set_scheme(struct registries *r, const char *host, char scheme) {
        (void) pthread_mutex_lock(&r->lock);
        (void) map_take(r->plain_hosts, host);
        (void) map_take(r->tls_hosts, host);
        if (map_size(r->plain_hosts) + map_size(r->tls_hosts) < HOSTS_REMEMBERED_MAX && scheme)
                (void) map_set(scheme == 'p' ? r->plain_hosts : r->tls_hosts, host, r);
        (void) pthread_mutex_unlock(&r->lock);
}

/* The entry for @host, else the one for "*", else NULL. */
static const struct registry_conf *conf_of(const struct registries *r, const char *host) {
        const struct registry_conf *any = NULL;

        for (size_t i = 0; i < r->n_confs; i++) {
                if (str_eq(r->confs[i].host, host))
                        return &r->confs[i];
                if (str_eq(r->confs[i].host, "*"))
                        any = &r->confs[i];
        }
        return any;
}

/* Docker Hub has many names. */
static const char *canonical_host(const char *host) {
        static const char *const hub[] = { "docker.io", "index.docker.io", "registry-1.docker.io" };

        for (size_t i = 0; i < ELEMENTSOF(hub); i++)
                if (strcasecmp(host, hub[i]) == 0)
                        return hub[0];
        return host;
}

bool registry_is_same(const char *a, const char *b) {
        return strcasecmp(canonical_host(a), canonical_host(b)) == 0;
}

/* Those that the daemon has of its own for the endpoint. */
static struct credentials *own_credentials(const struct registries *r, const char *name) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(AUTH_FILE_MAX);
        const char *const files[] = { r->auth_file, NULL };
        struct credentials *creds = NULL;
        struct image_auth auth = { 0 };
        struct err err;
        int found = auth_files_find(files, name, arena, &auth, &err);

        if (found < 0 || (found && credentials_new(&auth, &creds, &err) < 0))
                log_warn("no credentials of auth-file", "for", name, "error", err.msg, NULL);
        return creds;
}

/* @address: "host[:port]" or, for mirrors, "host[:port]/prefix". @path: what the repository is called there. */
static void endpoint_init(struct endpoint *e, const struct source *s, const struct source_args *args,
                          const char *address, const char *path, bool is_mirror) {
        const struct registry_conf *conf;
        size_t host_len = strcspn(address, "/");
        const char *prefix = address + host_len, *to;

        e->is_mirror = is_mirror;
        e->host = xstrndup(address, host_len);
        conf = conf_of(s->registries, e->host);
        e->allow_http = url_host_is_loopback(e->host) || (conf && conf->insecure);
        e->ca_file = conf ? conf->ca_file : NULL;
        e->cert_file = conf ? conf->cert_file : NULL;
        e->key_file = conf ? conf->key_file : NULL;
        e->base = xprintf("/v2%s/%s", prefix, path);
        e->query = is_mirror ? xprintf("?ns=%s", args->ref->host) : xstrdup("");
        /* A mirror gets credentials only when they were given for the mirror. */
        to = args->creds->server ?: args->ref->host;
        e->creds = registry_is_same(to, e->host) && !credentials_are_empty(args->creds) ? args->creds : NULL;
        if (!e->creds && s->registries->auth_file) {
                _cleanup_(freep) char *name = xprintf("%s/%s", address, path);

                e->creds = e->own_creds = own_credentials(s->registries, name);
        }
        if (!is_mirror && registry_is_same(e->host, "docker.io")) {
                free(e->host);
                e->host = xstrdup("registry-1.docker.io");
        }
        e->auth_key = xprintf("%s %s %s%s%s", e->host, e->base, e->creds ? e->creds->fingerprint : "-",
                              args->push ? " push " : "", args->mount_from ?: "");
}

struct source *source_new(struct registries *r, const struct source_args *args) {
        const struct registry_conf *conf = conf_of(r, args->ref->host);
        const char *const *mirrors = conf && !args->no_mirrors ? conf->mirrors : NULL;
        struct source *s = xnew(struct source);
        _cleanup_(arena_freep) struct arena *arena = arena_new(16 * 1024);
        const char *there = conf ? rewrites_apply(r->rewrites[conf - r->confs], args->ref->path, arena) : NULL;
        size_t n = strv_len(mirrors);

        assert(args->ref->host);
        s->registries = r;
        s->repository = xstrdup(args->ref->path);
        s->cancel_fd = args->cancel_fd;
        s->deadline_ns = args->deadline_ns;
        if (args->push)
                s->scopes[0] = xprintf("repository:%s:pull,push", args->ref->path);
        if (args->mount_from)
                s->scopes[1] = xprintf("repository:%s:pull", args->mount_from);
        s->n_endpoints = n + 1;
        s->endpoints = xcalloc(n + 1, sizeof(*s->endpoints));
        for (size_t i = 0; i < n; i++)
                endpoint_init(&s->endpoints[i], s, args, mirrors[i], there, true);
        endpoint_init(&s->endpoints[n], s, args, args->ref->host, args->ref->path, false);
        return s;
}

void source_set_cancel_fd(struct source *s, int cancel_fd) {
        s->cancel_fd = cancel_fd;
}

struct source *source_free(struct source *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_endpoints; i++) {
                free(s->endpoints[i].host);
                free(s->endpoints[i].base);
                free(s->endpoints[i].query);
                free(s->endpoints[i].auth_key);
                (void) credentials_free(s->endpoints[i].own_creds);
        }
        free(s->endpoints);
        free((char *) s->scopes[0]);
        free((char *) s->scopes[1]);
        free(s->repository);
        free(s);
        return NULL;
}

bool source_use_one_stream(struct source *s) {
        s->one_stream = true;
        return s->used_parts;
}

bool source_has_mirrors(const struct source *s) {
        return s->n_endpoints > 1;
}
