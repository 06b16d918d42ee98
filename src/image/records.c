/* SPDX-License-Identifier: Apache-2.0 */
#include "image/records.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "image/record-json.h"
#include "image/records-index.h"

enum { RECORD_BYTES_MAX = 8 * 1024 * 1024 };

/* --- holds ------------------------------------------------------------------------------------------------------ */

void records_hold_blob(struct records *r, const char *digest) {
        (void) pthread_mutex_lock(&r->lock);
        index_blob(r, digest)->holds++;
        (void) pthread_mutex_unlock(&r->lock);
}

static void release_blob_locked(struct records *r, const char *digest, bool retire) {
        struct blob *b = map_get(r->blobs, digest);
        struct err err;

        if (!b || --b->holds > 0)
                return;
        r->bytes -= b->size;
        free(map_take(r->blobs, digest));
        if (retire)
                content_retire(r->content, digest);
        else if (content_remove(r->content, digest, &err) < 0)
                log_warn("a blob stays behind until the next start", "digest", digest, "error", err.msg, NULL);
}

void records_release_blob(struct records *r, const char *digest) {
        (void) pthread_mutex_lock(&r->lock);
        release_blob_locked(r, digest, false);
        (void) pthread_mutex_unlock(&r->lock);
}

void records_retire_blob(struct records *r, const char *digest) {
        (void) pthread_mutex_lock(&r->lock);
        release_blob_locked(r, digest, true);
        (void) pthread_mutex_unlock(&r->lock);
}

bool records_blob_is_shared(struct records *r, const char *digest) {
        const struct blob *b;
        bool ret;

        (void) pthread_mutex_lock(&r->lock);
        b = map_get(r->blobs, digest);
        ret = b && b->holds > 1;
        (void) pthread_mutex_unlock(&r->lock);
        return ret;
}

void records_hold_layer(struct records *r, const char *chain_id) {
        struct layer *l;

        (void) pthread_mutex_lock(&r->lock);
        while ((l = index_layer(r, chain_id))->removing)
                (void) pthread_cond_wait(&r->removed, &r->lock);
        l->holds++;
        (void) pthread_mutex_unlock(&r->lock);
}

int records_release_layer(struct records *r, const char *chain_id, struct err *err) {
        struct layer *l;
        int ret = 0;

        (void) pthread_mutex_lock(&r->lock);
        l = map_get(r->layers, chain_id);
        if (l && --l->holds == 0) {
                l->removing = true;
                index_layer_size(r, l, 0, 0);
                (void) pthread_mutex_unlock(&r->lock);
                /* The record last: a crash in between leaves a record without a layer, which reconciling drops. */
                ret = layer_remove(r->layers_on_disk, chain_id, err);
                if (ret == 0)
                        ret = store_delete(r->store, STORE_LAYER, chain_id, err);
                (void) pthread_mutex_lock(&r->lock);
                free(map_take(r->layers, chain_id));
                (void) pthread_cond_broadcast(&r->removed);
        }
        (void) pthread_mutex_unlock(&r->lock);
        return ret;
}

/* Does anybody but images and the caller hold it? */
static bool is_used(struct records *r, const char *chain_id) {
        unsigned known = 1;
        size_t it = 0;
        const char *id;
        void *value;

        while (map_next(r->images, &it, &id, &value)) {
                const struct entry *e = value;

                for (size_t i = 0; i < e->n_layers; i++)
                        known += str_eq(e->layers[i], chain_id);
        }
        return index_layer(r, chain_id)->holds > known;
}

bool records_freeze_layer(struct records *r, const char *chain_id) {
        bool ret;

        (void) pthread_mutex_lock(&r->lock);
        ret = !index_layer(r, chain_id)->removing && !is_used(r, chain_id);
        if (ret)
                index_layer(r, chain_id)->removing = true;
        (void) pthread_mutex_unlock(&r->lock);
        return ret;
}

void records_thaw_layer(struct records *r, const char *chain_id) {
        (void) pthread_mutex_lock(&r->lock);
        index_layer(r, chain_id)->removing = false;
        (void) pthread_cond_broadcast(&r->removed);
        (void) pthread_mutex_unlock(&r->lock);
}

bool records_layer_is_done(struct records *r, const char *chain_id) {
        const struct layer *l;
        bool done;

        (void) pthread_mutex_lock(&r->lock);
        l = map_get(r->layers, chain_id);
        done = l && l->done;
        (void) pthread_mutex_unlock(&r->lock);
        return done;
}

void records_layer_done(struct records *r, const char *chain_id, uint64_t bytes, uint64_t inodes) {
        struct layer *l;

        (void) pthread_mutex_lock(&r->lock);
        l = index_layer(r, chain_id);
        if (!l->done) {
                l->done = true;
                index_layer_size(r, l, bytes, inodes);
        }
        (void) pthread_mutex_unlock(&r->lock);
}

/* --- commit ----------------------------------------------------------------------------------------------------- */

/* Another manifest may lead to the same image (another registry's compression): the record names the blobs of both, as
 * long as there is room; what is not named is not kept. */
static void merge_blobs(struct records *r, const struct entry *known, const struct image_record *image,
                        struct image_record *ret, struct arena *arena) {
        size_t n = known ? known->n_blobs : 0;
        struct record_blob *blobs = arena_array(arena, struct record_blob, n + image->n_blobs);

        *ret = *image;
        for (size_t i = 0; i < n; i++) {
                blobs[i] = known->blobs[i];
                blobs[i].size = index_blob(r, blobs[i].digest)->size;
        }
        for (size_t i = 0; i < image->n_blobs; i++) {
                size_t k = 0;

                while (k < n && !str_eq(blobs[k].digest, image->blobs[i].digest))
                        k++;
                if (k == n && n == RECORD_BLOBS_MAX)
                        continue;
                if (k == n)
                        blobs[n++] = image->blobs[i];
                else
                        blobs[k] = (struct record_blob){ .digest = blobs[k].digest,
                                                         .size = MAX_OF(blobs[k].size, image->blobs[i].size),
                                                         .layer = blobs[k].layer || image->blobs[i].layer };
        }
        ret->blobs = blobs;
        ret->n_blobs = n;
}

static uint64_t now_s(void) {
        return clock_realtime_ns() / 1000000000;
}

static int write_image(struct records *r, const struct image_record *image, const char *const *names, struct err *err) {
        _cleanup_(freep) char *json = NULL;
        size_t len;
        char layer[80];
        int ret;

        record_encode(image, &json, &len);
        if (len > RECORD_BYTES_MAX)
                return err_set(err, ERR_EXHAUSTED, "the image's record is larger than %d bytes", RECORD_BYTES_MAX);
        ret = store_put(r->store, STORE_IMAGE, image->id, json, len, err);
        for (size_t i = 0; ret == 0 && i < image->n_layers; i++) {
                const struct layer *l = map_get(r->layers, image->layers[i]);

                record_encode_layer(l ? l->bytes : 0, l ? l->inodes : 0, layer);
                ret = store_put(r->store, STORE_LAYER, image->layers[i], layer, strlen(layer), err);
        }
        for (; ret == 0 && *names; names++)
                ret = store_put(r->store, STORE_IMAGE_NAME, *names, image->id, strlen(image->id), err);
        return ret;
}

int records_commit(struct records *r, const struct image_record *image, const char *const *names, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
        struct image_record merged;
        const struct entry *known;
        int ret;

        (void) pthread_mutex_lock(&r->lock);
        known = map_get(r->images, image->id);
        merge_blobs(r, known, image, &merged, arena);
        merged.made |= known && known->made;
        merged.pulled_s = now_s();
        merged.used_s = known ? known->used_s : 0;
        ret = store_begin(r->store, err);
        if (ret == 0) {
                ret = write_image(r, &merged, names, err);
                if (ret == 0)
                        ret = store_commit(r->store, true, err);
                else
                        store_rollback(r->store);
        }
        if (ret == 0) {
                struct entry *e = index_image(r, &merged);

                for (; *names; names++)
                        index_name(r, *names, e);
        }
        (void) pthread_mutex_unlock(&r->lock);
        return ret;
}

/* --- look-up ---------------------------------------------------------------------------------------------------- */

static bool is_hex(const char *s) {
        size_t len = strlen(s);

        return len > 0 && len <= 64 && strspn(s, "0123456789abcdef") == len;
}

/* @hex: at least four digits, unique. */
static int find_by_id(struct records *r, const char *hex, struct entry **ret, struct err *err) {
        size_t len = strlen(hex), it = 0;
        const char *id;
        void *value;

        *ret = NULL;
        if (len < 4)
                return 0;
        while (map_next(r->images, &it, &id, &value)) {
                if (strncmp(id + strlen("sha256:"), hex, len) != 0)
                        continue;
                if (*ret) {
                        *ret = NULL;
                        return err_set(err, ERR_INVALID, "image id \"%.64s\" is ambiguous", hex);
                }
                *ret = value;
        }
        return 0;
}

/* A name wins over an id prefix: "beef" may be an image on Docker Hub. But "sha256:..." is always an id. */
static int find(struct records *r, const char *ref, struct entry **ret, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 * 1024);
        const char *prefixed = str_after(ref, "sha256:"), *hex = prefixed ?: ref;
        struct ref parsed;
        struct err not_a_ref;
        bool is_ref = !prefixed && ref_parse(ref, arena, &parsed, &not_a_ref) == 0;
        int r1 = 0;

        *ret = is_ref ? map_get(r->names, ref_string(&parsed, arena)) : NULL;
        if (!*ret && is_hex(hex))
                r1 = find_by_id(r, hex, ret, err);
        if (*ret || r1 < 0)
                return r1;
        if (is_ref || is_hex(hex))
                return err_set(err, ERR_NOT_FOUND, "image \"%.300s\" is not here", ref);
        if (prefixed)
                return err_set(err, ERR_INVALID, "invalid image id: \"sha256:\" wants 64 lower-case hex digits");
        *err = not_a_ref;
        return err_raised(-(int) err->code);
}

/* The names of @e that are tags or, with @digests, those that are digests. */
static const char **names_of(const struct entry *e, bool digests, struct arena *arena) {
        const char **list = arena_array(arena, const char *, e->n_names + 1);
        size_t n = 0;

        for (size_t i = 0; i < e->n_names; i++)
                if (!!strchr(e->names[i], '@') == digests)
                        list[n++] = arena_strdup(arena, e->names[i]);
        return list;
}

static int image_of(struct records *r, const struct entry *e, const void *value, size_t len, struct arena *arena,
                    struct image **ret, struct err *err) {
        struct image *image = arena_alloc(arena, sizeof(*image));
        struct image_config c = { 0 };
        struct image_record rec;
        int r1;

        if (!image)
                return err_set(err, ERR_EXHAUSTED, "too many images for one answer");
        r1 = record_decode(value, len, arena, &rec, &c, err);
        if (r1 < 0)
                return err_wrap(err, "record of image %s", e->id);
        image->id = arena_strdup(arena, e->id);
        image->repo_tags = names_of(e, false, arena);
        image->repo_digests = names_of(e, true, arena);
        image->layers = (const char **) rec.layers;
        image->made = e->made;
        image->pulled_s = e->pulled_s;
        image->used_s = e->used_s;
        image->config.entrypoint = c.entrypoint;
        image->config.cmd = c.cmd;
        image->config.env = c.env;
        image->config.volumes = c.volumes;
        image->config.labels = c.labels;
        image->config.user = c.user;
        image->config.working_dir = c.working_dir;
        image->config.stop_signal = c.stop_signal;
        image->config.os = c.platform.os;
        image->config.architecture = c.platform.arch;
        image->config.variant = c.platform.variant;
        for (size_t i = 0; i < e->n_blobs; i++)
                image->size_bytes += index_blob(r, e->blobs[i].digest)->size;
        for (size_t i = 0; i < rec.n_layers; i++) {
                const struct layer *l = map_get(r->layers, rec.layers[i]);
                image->size_bytes += l ? l->bytes : 0;
        }
        *ret = image;
        return 0;
}

int records_get(struct records *r, const char *ref, struct arena *arena, struct image **ret, struct err *err) {
        _cleanup_(freep) void *value = NULL;
        struct entry *e;
        size_t len;
        int ret_code;

        (void) pthread_mutex_lock(&r->lock);
        ret_code = find(r, ref, &e, err);
        if (ret_code == 0)
                ret_code = store_get(r->store, STORE_IMAGE, e->id, &value, &len, err);
        if (ret_code == 0)
                ret_code = image_of(r, e, value, len, arena, ret, err);
        (void) pthread_mutex_unlock(&r->lock);
        return ret_code;
}

struct listing {
        struct records *records;
        struct arena *arena;
        struct image **list;
        size_t n, max;
        struct err *err;
};

static int list_one(const char *key, const void *value, size_t len, void *userdata) {
        struct listing *l = userdata;
        const struct entry *e = map_get(l->records->images, key);

        if (!e || l->n == l->max)
                return 0;
        return image_of(l->records, e, value, len, l->arena, &l->list[l->n++], l->err);
}

int records_list(struct records *r, struct arena *arena, struct image ***ret, size_t *ret_n, struct err *err) {
        struct err why = { 0 };
        struct listing l = { .records = r, .arena = arena, .err = &why };
        int ret_code;

        (void) pthread_mutex_lock(&r->lock);
        l.max = map_size(r->images);
        l.list = arena_array(arena, struct image *, l.max + 1);
        ret_code = store_each(r->store, STORE_IMAGE, list_one, &l, err);
        (void) pthread_mutex_unlock(&r->lock);
        if (ret_code < 0) {
                if (why.code)
                        *err = why;
                return ret_code;
        }
        *ret = l.list;
        *ret_n = l.n;
        return 0;
}

int records_hold_blobs(struct records *r, const char *ref, struct arena *arena, const char ***ret, struct err *err) {
        struct entry *e;
        const char **list;
        int ret_code;

        (void) pthread_mutex_lock(&r->lock);
        ret_code = find(r, ref, &e, err);
        if (ret_code == 0) {
                list = arena_array(arena, const char *, e->n_blobs + 1);
                for (size_t i = 0; i < e->n_blobs; i++) {
                        index_blob(r, e->blobs[i].digest)->holds++;
                        list[i] = arena_strdup(arena, e->blobs[i].digest);
                }
                *ret = list;
        }
        (void) pthread_mutex_unlock(&r->lock);
        return ret_code;
}

/* A layer that an image names is never removed, but may be frozen. */
static bool any_removing(struct records *r, const struct entry *e) {
        for (size_t i = 0; i < e->n_layers; i++)
                if (index_layer(r, e->layers[i])->removing)
                        return true;
        return false;
}

static void note_use(struct entry *e) {
        e->used_s = now_s();
        e->use_unwritten = true;
}

int records_hold_image(struct records *r, const char *id, struct arena *arena, const char ***ret, struct err *err) {
        const char **list;
        struct entry *e;

        (void) pthread_mutex_lock(&r->lock);
        while ((e = map_get(r->images, id)) && any_removing(r, e))
                (void) pthread_cond_wait(&r->removed, &r->lock);
        if (!e) {
                (void) pthread_mutex_unlock(&r->lock);
                return err_set(err, ERR_NOT_FOUND, "image \"%.80s\" is not here", id);
        }
        list = arena_array(arena, const char *, e->n_layers + 1);
        for (size_t i = 0; i < e->n_layers; i++) {
                index_layer(r, e->layers[i])->holds++;
                list[i] = arena_strdup(arena, e->layers[i]);
        }
        note_use(e);
        (void) pthread_mutex_unlock(&r->lock);
        *ret = list;
        return 0;
}

void records_note_use(struct records *r, const char *id) {
        struct entry *e;

        (void) pthread_mutex_lock(&r->lock);
        e = map_get(r->images, id);
        if (e)
                note_use(e);
        (void) pthread_mutex_unlock(&r->lock);
}

static int write_use(struct records *r, const struct entry *e, struct err *err) {
        _cleanup_(freep) char *json = NULL;
        _cleanup_(freep) void *value = NULL;
        size_t len;
        int ret = store_get(r->store, STORE_IMAGE, e->id, &value, &len, err);

        if (ret == 0)
                ret = record_set_used(value, len, e->used_s, &json, &len, err);
        return ret == 0 ? store_put(r->store, STORE_IMAGE, e->id, json, len, err) : ret;
}

int records_write_uses(struct records *r, struct err *err) {
        const char *id;
        void *value;
        int ret = 0;

        (void) pthread_mutex_lock(&r->lock);
        for (size_t it = 0; ret == 0 && map_next(r->images, &it, &id, &value);) {
                struct entry *e = value;

                if (!e->use_unwritten)
                        continue;
                ret = write_use(r, e, err);
                e->use_unwritten = ret < 0;
        }
        (void) pthread_mutex_unlock(&r->lock);
        return ret < 0 ? err_wrap(err, "note when images were used") : 0;
}

/* --- names ------------------------------------------------------------------------------------------------------ */

/* @to: NULL: to nothing. Durable, all or none. */
static int write_names(struct records *r, const char *const *names, const char *to, struct err *err) {
        int ret = store_begin(r->store, err);

        if (ret < 0)
                return ret;
        for (; ret == 0 && *names; names++)
                ret = to ? store_put(r->store, STORE_IMAGE_NAME, *names, to, strlen(to), err)
                         : store_delete(r->store, STORE_IMAGE_NAME, *names, err);
        if (ret == 0)
                return store_commit(r->store, true, err);
        store_rollback(r->store);
        return ret;
}

int records_tag(struct records *r, const char *ref, const char *const *names, struct err *err) {
        struct entry *e;
        int ret;

        (void) pthread_mutex_lock(&r->lock);
        ret = find(r, ref, &e, err);
        if (ret == 0)
                ret = write_names(r, names, e->id, err);
        for (; ret == 0 && *names; names++)
                index_name(r, *names, e);
        (void) pthread_mutex_unlock(&r->lock);
        return ret;
}

int records_untag(struct records *r, const char *const *names, struct err *err) {
        int ret = 0;

        (void) pthread_mutex_lock(&r->lock);
        for (size_t i = 0; ret == 0 && names[i]; i++)
                if (!map_get(r->names, names[i]))
                        ret = err_set(err, ERR_NOT_FOUND, "no image is called \"%.300s\"", names[i]);
        if (ret == 0)
                ret = write_names(r, names, NULL, err);
        for (; ret == 0 && *names; names++)
                index_unname(r, *names);
        (void) pthread_mutex_unlock(&r->lock);
        return ret;
}

/* --- removal ---------------------------------------------------------------------------------------------------- */

static int delete_image(struct records *r, const struct entry *e, struct err *err) {
        int ret = store_begin(r->store, err);

        if (ret < 0)
                return ret;
        ret = store_delete(r->store, STORE_IMAGE, e->id, err);
        for (size_t i = 0; ret == 0 && i < e->n_names; i++)
                ret = store_delete(r->store, STORE_IMAGE_NAME, e->names[i], err);
        if (ret == 0)
                return store_commit(r->store, true, err);
        store_rollback(r->store);
        return ret;
}

/* Gives the holds of an image back that is in the index no more: highest layer first, so that what a crash leaves is
 * never a layer without those below it. */
static int release_entry(struct records *r, struct entry *e, struct err *err) {
        struct err later;
        int ret = 0;

        for (size_t i = 0; i < e->n_blobs; i++)
                records_release_blob(r, e->blobs[i].digest);
        for (size_t i = e->n_layers; i-- > 0;) {
                int one = records_release_layer(r, e->layers[i], ret ? &later : err);
                ret = ret ?: one;
        }
        (void) index_entry_free(e);
        return ret;
}

int records_remove(struct records *r, const char *ref, struct err *err) {
        struct entry *e;
        int ret;

        (void) pthread_mutex_lock(&r->lock);
        ret = find(r, ref, &e, err);
        if (ret == 0)
                ret = delete_image(r, e, err);
        if (ret == 0)
                index_take_image(r, e);
        (void) pthread_mutex_unlock(&r->lock);
        if (ret == -ERR_NOT_FOUND)
                return 0;
        return ret < 0 ? ret : release_entry(r, e, err);
}

/* Out of the index, to be released. NULL: it is not to go. */
static struct entry *prune_one(struct records *r, const char *id, const struct image_prune_args *args,
                               const struct map *tops, struct arena *arena, struct image **ret, struct err *err) {
        struct entry *e = map_get(r->images, id);
        _cleanup_(freep) void *value = NULL;
        size_t len;

        if (!e || (e->n_layers && map_get(tops, e->layers[e->n_layers - 1])) ||
            store_get(r->store, STORE_IMAGE, id, &value, &len, err) < 0 ||
            image_of(r, e, value, len, arena, ret, err) < 0 || !args->pick(*ret, args->userdata))
                return NULL;
        if (!args->dry_run) {
                if (delete_image(r, e, err) < 0)
                        return NULL;
                index_take_image(r, e);
        }
        return e;
}

static int compare_uses(const void *a, const void *b) {
        uint64_t x = image_last_use_s(*(struct image *const *) a), y = image_last_use_s(*(struct image *const *) b);

        return x < y ? -1 : x > y;
}

static uint64_t bytes_of(struct records *r) {
        uint64_t bytes, inodes;

        records_usage(r, &bytes, &inodes);
        return bytes;
}

int records_prune(struct records *r, const struct image_prune_args *args, struct arena *arena, struct image ***ret,
                  size_t *ret_n, struct err *err) {
        _cleanup_(map_freep) struct map *tops = map_new();
        struct image **all, **list;
        size_t n_all, n = 0;
        uint64_t before;
        int ret_code = records_list(r, arena, &all, &n_all, err);

        if (ret_code == 0)
                ret_code = records_users(r, tops, NULL, err);
        if (ret_code < 0)
                return ret_code;
        list = arena_array(arena, struct image *, n_all + 1);
        if (args->oldest_first)
                qsort(all, n_all, sizeof(*all), compare_uses);
        before = bytes_of(r);
        for (size_t i = 0; ret_code == 0 && i < n_all; i++) {
                struct err why = { 0 };
                struct entry *e;

                if (args->want_bytes && bytes_of(r) + args->want_bytes <= before)
                        break;
                (void) pthread_mutex_lock(&r->lock);
                e = prune_one(r, all[i]->id, args, tops, arena, &list[n], &why);
                (void) pthread_mutex_unlock(&r->lock);
                if (e && !args->dry_run)
                        ret_code = release_entry(r, e, err);
                else if (why.code) {
                        *err = why;
                        ret_code = -(int) why.code;
                }
                n += e != NULL;
        }
        *ret = list;
        *ret_n = n;
        return ret_code;
}

void records_usage(struct records *r, uint64_t *ret_bytes, uint64_t *ret_inodes) {
        (void) pthread_mutex_lock(&r->lock);
        *ret_bytes = r->bytes;
        *ret_inodes = r->inodes + map_size(r->blobs);
        (void) pthread_mutex_unlock(&r->lock);
}
