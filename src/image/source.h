/* SPDX-License-Identifier: Apache-2.0 */
/* source - the insides shared by registry.c (who to ask) and source.c (asking). Private to these. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "base/map.h"
#include "image/registry.h"

struct registries {
        struct registry_conf *confs; /* own copies, but for the rewrites */
        struct rewrites **rewrites;  /* of each */
        char *auth_file;             /* NULL: none */
        size_t n_confs;
        struct http *http;
        struct auth_cache *auth;
        pthread_mutex_t lock;    /* guards plain_hosts and tls_hosts */
        struct map *plain_hosts; /* hosts that turned out to speak plain http */
        struct map *tls_hosts;   /* hosts that may speak plain http and turned out to speak https */
        atomic_uint n_parts;     /* connections that fetch parts of blobs, in all pulls */
};

struct endpoint {
        char *host;     /* "registry-1.docker.io", "127.0.0.1:5000" */
        char *base;     /* "/v2/PREFIX/PATH" */
        char *query;    /* "?ns=docker.io" or "" */
        char *auth_key; /* in the cache of headers */
        const char *ca_file, *cert_file, *key_file;
        const struct credentials *creds; /* NULL: none for this one; the caller's, or @own_creds */
        struct credentials *own_creds;
        bool allow_http, is_mirror;
};

struct source {
        struct registries *registries;
        struct endpoint *endpoints; /* mirrors, then the registry */
        size_t n_endpoints;
        _Atomic size_t first; /* the one that served the manifest */
        char *repository;
        const char *scopes[3]; /* wanted of a token besides what the registry asks for; NULL-terminated */
        int cancel_fd;
        uint64_t deadline_ns;
        atomic_bool one_stream; /* no blob is fetched in parts any more */
        atomic_bool used_parts; /* one was */
};

/* What a host was found to speak: 'p'lain, 't'ls, or 0 when unknown. */
char registries_scheme(struct registries *r, const char *host);
void registries_set_scheme(struct registries *r, const char *host, char scheme); /* 0 forgets */

/* "https://HOST/v2/NAME" and @path (behind that), as far as it is known what the host speaks. */
const char *source_url(struct source *s, const struct endpoint *e, const char *path, struct arena *arena);
/* A request to @e with the credentials it takes: those that worked before, then those of a fresh log-in, once. @path is
 * behind "/v2/NAME"; or a whole URL that the registry has named: credentials don't leave the registry's own origin, and
 * a 401 of somebody it redirects to stays one. */
_must_use_ int source_request(struct source *s, const struct endpoint *e, const char *path, struct http_request *req,
                              struct http_response *resp, struct err *err);
/* The next page's address of the header Link, only in the registry itself, which gave @resp at @base; NULL: none. */
const char *source_next_page(const struct http_response *resp, const char *base, struct arena *arena);
/* Raises what a status that is no success means, with what the registry says. */
int source_status_error(const struct http_response *resp, struct arena *arena, struct err *err);

/* --- source-parts.c --------------------------------------------------------------------------------------------- */
/* The rest of a big blob over several connections at once, where one alone is slow (far away, or throttled by the
 * registry). The parts are pieces of PART_BYTES, which come into a window of memory and are passed on in order, so
 * whoever takes the blob sees no difference. Whatever goes wrong there is no error: one stream takes over. */
enum {
        PART_BYTES = 1024 * 1024,
        PARTS_PER_BLOB = 6, /* connections */
        PARTS_MAX = 12,     /* in all; each stands for two pieces of memory */
};

struct parts_args {
        struct source *source;
        const struct endpoint *endpoint;
        const char *path; /* as source_request()'s */
        const char *etag; /* of what came before; NULL: it has none */
        uint64_t from, size;
        uint64_t bytes_per_s; /* that one stream brings: several that bring less are not worth it */
        unsigned connections; /* what parts_reserve() gave */
        int (*take)(const void *data, size_t len, void *userdata, struct err *err);
        void *userdata;
};

/* How many connections there are for one more blob: 0, or at least two; to be given back. */
unsigned parts_reserve(struct source *s);
void parts_give_back(struct source *s, unsigned n);
/* 0: all of it came; 1: one stream had better go on behind what @take has got (@err says why). An error is @take's, or
 * the caller has cancelled. */
_must_use_ int parts_get(const struct parts_args *args, struct err *err);
