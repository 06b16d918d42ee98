/* SPDX-License-Identifier: Apache-2.0 */
/* From the store to the index at start, and making disk and records agree. */
#include <string.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "image/record-json.h"
#include "image/records-index.h"

/* Keys of records to be deleted after a walk, which must not call the store. */
struct keys {
        char **list;
        size_t n, cap;
};

static void keys_add(struct keys *k, const char *key) {
        xgrow(k->list, k->n, k->cap);
        k->list[k->n++] = xstrdup(key);
}

static void keys_done(struct keys *k) {
        for (size_t i = 0; i < k->n; i++)
                free(k->list[i]);
        free(k->list);
}

struct load {
        struct records *records;
        struct keys bad;
};

static int load_image(const char *key, const void *value, size_t len, void *userdata) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
        struct load *load = userdata;
        struct image_record image;
        struct err err;

        if (!digest_is_valid(key) || record_decode(value, len, arena, &image, NULL, &err) < 0) {
                log_warn("dropped an image whose record can't be read: pull it again", "image", key, NULL);
                keys_add(&load->bad, key);
                return 0;
        }
        image.id = key;
        (void) index_image(load->records, &image);
        return 0;
}

/* Only what an image or a snapshot holds counts; other records are left-overs. */
static int load_layer(const char *key, const void *value, size_t len, void *userdata) {
        struct load *load = userdata;
        struct layer *l = map_get(load->records->layers, key);
        uint64_t bytes, inodes;
        struct err err;

        if (!l || record_decode_layer(value, len, &bytes, &inodes, &err) < 0) {
                keys_add(&load->bad, key);
                return 0;
        }
        l->done = true;
        index_layer_size(load->records, l, bytes, inodes);
        return 0;
}

static int load_name(const char *key, const void *value, size_t len, void *userdata) {
        _cleanup_(freep) char *id = xstrndup(value, len);
        struct load *load = userdata;
        struct entry *e = map_get(load->records->images, id);

        if (e)
                index_name(load->records, key, e);
        else
                keys_add(&load->bad, key);
        return 0;
}

static int load_snapshot(const char *key, const void *value, size_t len, void *userdata) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
        struct load *load = userdata;
        const char **layers, **volumes;
        struct err err;

        if (record_decode_snapshot(value, len, arena, &layers, &volumes, &err) < 0) {
                log_warn("a snapshot's record can't be read", "snapshot", key, "error", err.msg, NULL);
                return 0;
        }
        for (; *layers; layers++)
                index_layer(load->records, *layers)->holds++;
        for (; *volumes; volumes++)
                index_layer(load->records, *volumes)->holds++;
        return 0;
}

static int load_table(struct records *r, enum store_table table,
                      int (*each)(const char *key, const void *value, size_t len, void *userdata), struct err *err) {
        struct load load = { .records = r };
        int ret = store_each(r->store, table, each, &load, err);

        for (size_t i = 0; ret == 0 && i < load.bad.n; i++)
                ret = store_delete(r->store, table, load.bad.list[i], err);
        keys_done(&load.bad);
        return ret;
}

int records_new(struct store *store, struct layers *layers, struct content *content, struct records **ret,
                struct err *err) {
        _cleanup_(records_freep) struct records *r = xnew(struct records);
        int ret_code;

        r->store = store;
        r->layers_on_disk = layers;
        r->content = content;
        (void) pthread_mutex_init(&r->lock, NULL);
        (void) pthread_cond_init(&r->removed, NULL);
        r->images = map_new();
        r->names = map_new();
        r->layers = map_new();
        r->blobs = map_new();
        ret_code = load_table(r, STORE_IMAGE, load_image, err);
        if (ret_code == 0)
                ret_code = load_table(r, STORE_SNAPSHOT, load_snapshot, err);
        if (ret_code == 0)
                ret_code = load_table(r, STORE_LAYER, load_layer, err);
        if (ret_code == 0)
                ret_code = load_table(r, STORE_IMAGE_NAME, load_name, err);
        if (ret_code < 0)
                return err_wrap(err, "read the image records");
        *ret = TAKE_PTR(r);
        return 0;
}

struct records *records_free(struct records *r) {
        struct map *const plain[] = { r ? r->layers : NULL, r ? r->blobs : NULL };
        const char *key;
        void *value;
        size_t it = 0;

        if (!r)
                return NULL;
        while (map_next(r->images, &it, &key, &value))
                (void) index_entry_free(value);
        for (size_t i = 0; i < ELEMENTSOF(plain); i++)
                for (it = 0; map_next(plain[i], &it, &key, &value);)
                        free(value);
        (void) map_free(r->images);
        (void) map_free(r->names);
        (void) map_free(r->layers);
        (void) map_free(r->blobs);
        (void) pthread_cond_destroy(&r->removed);
        (void) pthread_mutex_destroy(&r->lock);
        free(r);
        return NULL;
}

static bool is_whole(struct records *r, const struct entry *e) {
        for (size_t i = 0; i < e->n_layers; i++)
                if (!layer_exists(r->layers_on_disk, e->layers[i]))
                        return false;
        return true;
}

static int drop_broken_images(struct records *r, struct err *err) {
        struct keys broken = { 0 };
        const char *id;
        void *value;
        size_t it = 0;
        int ret = 0;

        (void) pthread_mutex_lock(&r->lock);
        while (map_next(r->images, &it, &id, &value))
                if (!is_whole(r, value))
                        keys_add(&broken, id);
        (void) pthread_mutex_unlock(&r->lock);
        for (size_t i = 0; ret == 0 && i < broken.n; i++) {
                log_warn("dropped an image whose layers are not all on disk: pull it again", "image", broken.list[i],
                         NULL);
                ret = records_remove(r, broken.list[i], err);
        }
        keys_done(&broken);
        return ret;
}

static int sweep_layers(struct records *r, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 << 20);
        const char **on_disk;
        int ret = layer_list(r->layers_on_disk, arena, &on_disk, err);

        for (; ret == 0 && *on_disk; on_disk++) {
                bool held;

                (void) pthread_mutex_lock(&r->lock);
                held = map_get(r->layers, *on_disk) != NULL;
                (void) pthread_mutex_unlock(&r->lock);
                if (!held && layer_remove(r->layers_on_disk, *on_disk, err) < 0)
                        log_warn("a layer stays behind until the next start", "layer", *on_disk, "error", err->msg,
                                 NULL);
        }
        return ret;
}

static bool blob_is_held(const char *digest, void *userdata) {
        struct records *r = userdata;
        bool held;

        (void) pthread_mutex_lock(&r->lock);
        held = map_get(r->blobs, digest) != NULL;
        (void) pthread_mutex_unlock(&r->lock);
        return held;
}

/* Layers that a crash took, but that an image or a snapshot still names: a pull must bring them again. */
static void forget_lost_layers(struct records *r) {
        const char *chain_id;
        void *value;

        (void) pthread_mutex_lock(&r->lock);
        for (size_t it = 0; map_next(r->layers, &it, &chain_id, &value);) {
                struct layer *l = value;

                if (layer_exists(r->layers_on_disk, chain_id))
                        continue;
                l->done = false;
                index_layer_size(r, l, 0, 0);
        }
        (void) pthread_mutex_unlock(&r->lock);
}

int records_reconcile(struct records *r, struct err *err) {
        int ret;

        forget_lost_layers(r);
        records_recount_blobs(r);
        ret = drop_broken_images(r, err);

        if (ret == 0)
                ret = sweep_layers(r, err);
        return ret == 0 ? content_sweep(r->content, blob_is_held, r, err) : ret;
}
