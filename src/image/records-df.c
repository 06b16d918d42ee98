/* SPDX-License-Identifier: Apache-2.0 */
/* What takes how much room, and who needs it. */
#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"
#include "image/record-json.h"
#include "image/records-index.h"

struct users {
        struct map *tops, *layers;
        struct err *err;
};

static void count_up(struct map *counts, const char *key) {
        uintptr_t n = (uintptr_t) map_get(counts, key);

        (void) map_set(counts, key, (void *) (n + 1)); // NOLINT(performance-no-int-to-ptr): a count
}

static size_t count_of(const struct map *counts, const char *key) {
        return (uintptr_t) map_get(counts, key);
}

static int note_user(const char *id, const void *value, size_t len, void *userdata) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
        struct users *u = userdata;
        const char **layers, **volumes;
        int r = record_decode_snapshot(value, len, arena, &layers, &volumes, u->err);

        if (r < 0)
                return r;
        for (; *layers; layers++) {
                if (!layers[1])
                        count_up(u->tops, *layers);
                if (u->layers)
                        count_up(u->layers, *layers);
        }
        for (; *volumes; volumes++) { /* of several images, not told apart */
                count_up(u->tops, *volumes);
                if (u->layers)
                        count_up(u->layers, *volumes);
        }
        return 0;
}

int records_users(struct records *r, struct map *tops, struct map *layers, struct err *err) {
        struct err unreadable = { 0 };
        struct users users = { tops, layers, &unreadable };
        int ret = store_each(r->store, STORE_SNAPSHOT, note_user, &users, err);

        if (unreadable.code) /* nobody knows whose layers are its */
                *err = unreadable;
        return ret;
}

static const char *top_of(const struct entry *e) {
        return e->n_layers ? e->layers[e->n_layers - 1] : "";
}

static void add_layers(struct records *r, const struct map *users, struct image_df *ret) {
        size_t it = 0;
        const char *id;
        void *value;

        while (map_next(r->layers, &it, &id, &value)) {
                const struct layer *l = value;
                bool unused = !map_get(users, id);

                if (!l->done)
                        continue;
                ret->n_layers++;
                ret->layer_bytes += l->bytes;
                ret->n_unused_layers += unused;
                ret->unused_layer_bytes += unused ? l->bytes : 0;
        }
}

/* @needed: those of images that something uses. */
static void add_blobs(struct records *r, const struct map *needed, struct image_df *ret) {
        size_t it = 0;
        const char *digest;
        void *value;

        while (map_next(r->blobs, &it, &digest, &value)) {
                const struct blob *b = value;
                bool unused = !map_get(needed, digest);

                if (!b->size)
                        continue;
                ret->n_blobs++;
                ret->blob_bytes += b->size;
                ret->n_unused_blobs += unused;
                ret->unused_blob_bytes += unused ? b->size : 0;
        }
}

/* How many images have each layer; which blobs belong to images that something uses. */
static void look_at_images(struct records *r, const struct map *tops, struct map *owners, struct map *needed) {
        size_t it = 0;
        const char *id;
        void *value;

        while (map_next(r->images, &it, &id, &value)) {
                const struct entry *e = value;

                for (size_t i = 0; i < e->n_layers; i++)
                        count_up(owners, e->layers[i]);
                for (size_t i = 0; i < e->n_blobs && map_get(tops, top_of(e)); i++)
                        count_up(needed, e->blobs[i].digest);
        }
}

static void fill_entry(struct records *r, const struct map *tops, const struct map *owners,
                       struct image_df_entry *ret) {
        const struct entry *e = map_get(r->images, ret->image->id);

        if (!e) /* removed meanwhile */
                return;
        ret->n_users = count_of(tops, top_of(e));
        for (size_t i = 0; i < e->n_layers; i++) {
                const struct layer *l = map_get(r->layers, e->layers[i]);

                if (l && count_of(owners, e->layers[i]) > 1)
                        ret->shared_bytes += l->bytes;
        }
}

int records_df(struct records *r, struct arena *arena, struct image_df *ret, struct err *err) {
        _cleanup_(map_freep) struct map *tops = map_new(), *layers = map_new(), *owners = map_new(),
                                        *needed = map_new();
        struct image **list;
        int ret_code;

        *ret = (struct image_df){ 0 };
        ret_code = records_list(r, arena, &list, &ret->n_images, err);
        if (ret_code == 0)
                ret_code = records_users(r, tops, layers, err);
        if (ret_code < 0)
                return ret_code;
        ret->images = arena_array(arena, struct image_df_entry, ret->n_images + 1);
        (void) pthread_mutex_lock(&r->lock);
        look_at_images(r, tops, owners, needed);
        add_layers(r, layers, ret);
        add_blobs(r, needed, ret);
        for (size_t i = 0; i < ret->n_images; i++) {
                ret->images[i].image = list[i];
                fill_entry(r, tops, owners, &ret->images[i]);
        }
        (void) pthread_mutex_unlock(&r->lock);
        return 0;
}
