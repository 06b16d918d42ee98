/* SPDX-License-Identifier: Apache-2.0 */
/* Layers' blobs, which are a cache: what is on disk says how large they are, and they go when room is wanted. */
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/records-index.h"

struct candidate {
        const char *digest; /* copied */
        uint64_t used_s;    /* by the image that was used last of those that name it */
};

/* @r's lock is held. */
static void recount(struct records *r, const char *digest) {
        struct blob *b = map_get(r->blobs, digest);

        if (b)
                index_blob_size(r, b, content_size(r->content, digest));
}

void records_recount_blob(struct records *r, const char *digest) {
        (void) pthread_mutex_lock(&r->lock);
        recount(r, digest);
        (void) pthread_mutex_unlock(&r->lock);
}

void records_recount_blobs(struct records *r) {
        const char *id;
        void *value;

        (void) pthread_mutex_lock(&r->lock);
        for (size_t it = 0; map_next(r->images, &it, &id, &value);) {
                const struct entry *e = value;

                for (size_t i = 0; i < e->n_blobs; i++)
                        if (e->blobs[i].layer)
                                recount(r, e->blobs[i].digest);
        }
        (void) pthread_mutex_unlock(&r->lock);
}

static uint64_t last_use_of(const struct entry *e) {
        return MAX_OF(e->pulled_s, e->used_s);
}

/* Kept layers' blobs of all images, each once. */
static struct candidate *list_candidates(struct records *r, struct arena *arena, size_t *ret_n) {
        _cleanup_(map_freep) struct map *known = map_new();
        struct candidate *list;
        const char *id;
        void *value;
        size_t n = 0;

        (void) pthread_mutex_lock(&r->lock);
        list = arena_array(arena, struct candidate, map_size(r->blobs) + 1);
        for (size_t it = 0; map_next(r->images, &it, &id, &value);) {
                const struct entry *e = value;

                for (size_t i = 0; i < e->n_blobs; i++) {
                        struct candidate *c = map_get(known, e->blobs[i].digest);

                        if (!e->blobs[i].layer || !index_blob(r, e->blobs[i].digest)->size)
                                continue;
                        if (!c) {
                                c = &list[n++];
                                c->digest = arena_strdup(arena, e->blobs[i].digest);
                                (void) map_set(known, c->digest, c);
                        }
                        c->used_s = MAX_OF(c->used_s, last_use_of(e));
                }
        }
        (void) pthread_mutex_unlock(&r->lock);
        *ret_n = n;
        return list;
}

static int compare(const void *a, const void *b) {
        const struct candidate *x = a, *y = b;

        return x->used_s < y->used_s ? -1 : x->used_s > y->used_s;
}

/* Do but images hold it, all of which can have it again? A pull, push or check holds what it needs. */
static bool is_spare(struct records *r, const char *digest, const struct blob *b) {
        unsigned named = 0;
        const char *id;
        void *value;

        for (size_t it = 0; map_next(r->images, &it, &id, &value);) {
                const struct entry *e = value;

                for (size_t i = 0; i < e->n_blobs; i++) {
                        if (!str_eq(e->blobs[i].digest, digest))
                                continue;
                        if (!e->blobs[i].layer || e->made)
                                return false;
                        named++;
                }
        }
        return named > 0 && b->holds == named;
}

/* @ret_bytes: 0: it stays. */
static int drop_one(struct records *r, const char *digest, bool dry_run, uint64_t *ret_bytes, struct err *err) {
        struct blob *b;
        int ret = 0;

        *ret_bytes = 0;
        (void) pthread_mutex_lock(&r->lock);
        b = map_get(r->blobs, digest);
        if (b && b->size && is_spare(r, digest, b)) {
                uint64_t size = b->size;

                if (!dry_run) {
                        ret = content_remove(r->content, digest, err);
                        recount(r, digest);
                }
                *ret_bytes = ret == 0 ? size : 0;
        }
        (void) pthread_mutex_unlock(&r->lock);
        return ret;
}

int records_drop_blobs(struct records *r, uint64_t want_bytes, bool dry_run, struct records_dropped *ret,
                       struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 << 20);
        size_t n;
        struct candidate *list = list_candidates(r, arena, &n);
        int ret_code = 0;

        ret->bytes = content_drop_parts(r->content, dry_run, &ret->n);
        qsort(list, n, sizeof(*list), compare);
        for (size_t i = 0; ret_code == 0 && i < n && ret->bytes < want_bytes; i++) {
                uint64_t bytes;

                ret_code = drop_one(r, list[i].digest, dry_run, &bytes, err);
                ret->bytes += bytes;
                ret->n += bytes > 0;
        }
        return ret_code;
}
