/* SPDX-License-Identifier: Apache-2.0 */
#include "image/copy.h"

#include <stdio.h>
#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"
#include "image/manifest.h"
#include "image/referrers.h"
#include "image/relay.h"
#include "image/send.h"

enum { PLAN_BYTES_MAX = 32 << 20, PLAN_MANIFESTS_MAX = 2000, PARSE_ARENA = 64 << 20 };

struct copy_manifest {
        char *digest, *media_type;
        struct strbuf data;
};

struct copy {
        const struct copy_args *args;
        struct copy_manifest *manifests; /* children before their index */
        size_t n_manifests, cap_manifests;
        size_t bytes;
        struct send_blob *blobs;
        size_t n_blobs, cap_blobs;
        struct map *seen;                               /* digests of both */
        char path[INDEX_DEPTH_MAX + 2][DIGEST_LEN + 1]; /* from the reference's manifest to the one at hand */
};

/* True for the first time. */
static bool is_new(struct copy *c, const char *digest) {
        return map_set(c->seen, digest, c) == NULL;
}

static int add_blob(struct copy *c, const struct descriptor *d, struct err *err) {
        if (layer_is_foreign(d->media_type) || !is_new(c, d->digest))
                return 0;
        if (c->n_blobs == SEND_BLOBS_MAX)
                return err_set(err, ERR_EXHAUSTED, "there are more than %d blobs", SEND_BLOBS_MAX);
        xgrow(c->blobs, c->n_blobs, c->cap_blobs);
        c->blobs[c->n_blobs++] = (struct send_blob){ xstrdup(d->digest), d->size };
        return 0;
}

static int add_manifest(struct copy *c, const struct manifest *m, struct strbuf *body, struct err *err) {
        struct copy_manifest *new;
        char digest[DIGEST_LEN + 1];

        c->bytes += body->len;
        if (c->n_manifests == PLAN_MANIFESTS_MAX || c->bytes > PLAN_BYTES_MAX)
                return err_set(err, ERR_EXHAUSTED, "there are more than %d manifests, or more than %d bytes of them",
                               PLAN_MANIFESTS_MAX, PLAN_BYTES_MAX);
        xgrow(c->manifests, c->n_manifests, c->cap_manifests);
        digest_of(strbuf_str(body), body->len, digest);
        new = &c->manifests[c->n_manifests++];
        *new = (struct copy_manifest){ xstrdup(digest), xstrdup(m->media_type), *body };
        *body = STRBUF(0);
        return 0;
}

/* May the manifest at the end of the path be taken? As with a pull, a signature of what leads to it will do. */
static int check_trust(struct copy *c, unsigned depth, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(PARSE_ARENA);
        const char *digests[ELEMENTSOF(c->path)];

        for (unsigned i = 0; i <= depth; i++)
                digests[i] = c->path[i];
        return trust_check(c->args->trust, c->args->registries, c->args->from_source, digests, depth + 1, arena, NULL,
                           err);
}

static int visit(struct copy *c, const char *reference, const struct descriptor *entry, unsigned depth,
                 struct err *err);

static int visit_children(struct copy *c, const struct manifest *index, unsigned depth, struct err *err) {
        int r = 0;

        if (depth == INDEX_DEPTH_MAX)
                return err_set(err, ERR_EXHAUSTED, "indexes are nested deeper than %d", INDEX_DEPTH_MAX);
        for (size_t i = 0; r == 0 && i < index->n_entries; i++) {
                const struct descriptor *d = &index->entries[i];
                bool there = false;

                if (!is_new(c, d->digest))
                        continue;
                r = upload_has_manifest(c->args->to, d->digest, &there, err);
                if (r < 0)
                        break;
                (void) snprintf(c->path[depth + 1], sizeof(c->path[0]), "%s", d->digest);
                r = there ? check_trust(c, depth + 1, err) : visit(c, d->digest, d, depth + 1, err);
        }
        return r;
}

static int visit_blobs(struct copy *c, const struct manifest *m, struct err *err) {
        int r = add_blob(c, &m->config, err);

        for (size_t i = 0; r == 0 && i < m->n_layers; i++)
                r = add_blob(c, &m->layers[i], err);
        return r;
}

/* Plans what @reference leads to; @entry: as its index says, or NULL. */
static int visit(struct copy *c, const char *reference, const struct descriptor *entry, unsigned depth,
                 struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(PARSE_ARENA);
        _cleanup_strbuf_ struct strbuf body = { 0 };
        const struct descriptor *chosen;
        struct manifest m;
        const char *type;
        int r = source_get_manifest(c->args->from, reference, arena, &body, &type, err);

        if (r == 0 && entry && entry->size != body.len)
                r = err_set(err, ERR_DATA_LOSS, "manifest %s has %zu bytes, not the %llu that the index says",
                            reference, body.len, (unsigned long long) entry->size);
        if (r == 0)
                r = manifest_parse_any(strbuf_str(&body), body.len, type, arena, &m, err);
        digest_of(strbuf_str(&body), body.len, c->path[depth]);
        if (r == 0 && !m.is_index)
                r = check_trust(c, depth, err);
        if (r == 0 && m.is_index && !c->args->all) {
                if (depth == INDEX_DEPTH_MAX)
                        return err_set(err, ERR_EXHAUSTED, "indexes are nested deeper than %d", INDEX_DEPTH_MAX);
                r = manifest_choose(&m, platform_host(), &chosen, err);
                return r == 0 ? visit(c, chosen->digest, chosen, depth + 1, err) : r;
        }
        if (r == 0)
                r = m.is_index ? visit_children(c, &m, depth, err) : visit_blobs(c, &m, err);
        return r == 0 ? add_manifest(c, &m, &body, err) : r;
}

static int open_relay(const struct send_blob *blob, struct blob_reader *ret, void *userdata, struct err *err) {
        const struct copy_args *args = userdata;

        *ret = (struct blob_reader){ .seek = relay_seek,
                                     .read = relay_read,
                                     .userdata = relay_new(args->from, blob->digest, blob->size) };
        return 0;
}

static void close_relay(struct blob_reader *reader) {
        (void) relay_free(reader->userdata);
}

static int send(struct copy *c, const char **ret_digest, struct arena *arena, struct err *err) {
        const struct copy_args *args = c->args;
        const struct ref *from = args->from_ref, *to = args->to_ref;
        const struct send_args sending = { .to = args->to,
                                           .blobs = c->blobs,
                                           .n = c->n_blobs,
                                           .mount_from = args->mount ? from->path : NULL,
                                           .max_parallel = args->max_parallel,
                                           .cancel_fd = args->caller->cancel_fd,
                                           .open = open_relay,
                                           .close = close_relay,
                                           .userdata = (void *) (uintptr_t) args,
                                           .progress = args->caller->progress,
                                           .progress_userdata = args->caller->userdata };
        const char *top = c->manifests[c->n_manifests - 1].digest;
        int r;

        if (to->digest && !str_eq(to->digest, top))
                return err_set(err, ERR_INVALID, "what is copied is %s; the destination names another digest", top);
        r = send_blobs(&sending, err);
        for (size_t i = 0; r == 0 && i < c->n_manifests; i++) {
                const struct copy_manifest *m = &c->manifests[i];
                const struct upload_manifest put = {
                        .reference = i + 1 == c->n_manifests && to->tag ? to->tag : m->digest,
                        .data = strbuf_str(&m->data),
                        .len = m->data.len,
                        .media_type = m->media_type,
                };

                r = referrers_put(args->to, &put, err);
        }
        if (r == 0)
                *ret_digest = arena_strdup(arena, top);
        return r;
}

int copy_run(const struct copy_args *args, struct arena *arena, const char **ret_digest, struct err *err) {
        struct copy c = { .args = args, .seen = map_new() };
        int r = visit(&c, args->from_ref->digest ?: args->from_ref->tag, NULL, 0, err);

        if (r == 0)
                r = send(&c, ret_digest, arena, err);
        for (size_t i = 0; i < c.n_manifests; i++) {
                free(c.manifests[i].digest);
                free(c.manifests[i].media_type);
                strbuf_done(&c.manifests[i].data);
        }
        for (size_t i = 0; i < c.n_blobs; i++)
                free((char *) c.blobs[i].digest);
        free(c.manifests);
        free(c.blobs);
        (void) map_free(c.seen);
        return r;
}
