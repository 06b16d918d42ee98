/* SPDX-License-Identifier: Apache-2.0 */
#include "image/record-json.h"

#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"

static json_t *strings(const char *const *list) {
        json_t *a = json_array();

        for (; list && *list; list++)
                (void) json_array_append_new(a, json_string(*list));
        return a;
}

static json_t *config_encode(const struct image_config *c) {
        json_t *o = json_object();

        (void) json_object_set_new(o, "entrypoint", strings(c->entrypoint));
        (void) json_object_set_new(o, "cmd", strings(c->cmd));
        (void) json_object_set_new(o, "env", strings(c->env));
        (void) json_object_set_new(o, "volumes", strings(c->volumes));
        (void) json_object_set_new(o, "labels", strings(c->labels));
        (void) json_object_set_new(o, "user", json_string(c->user));
        (void) json_object_set_new(o, "working_dir", json_string(c->working_dir));
        (void) json_object_set_new(o, "stop_signal", json_string(c->stop_signal));
        (void) json_object_set_new(o, "os", json_string(c->platform.os));
        (void) json_object_set_new(o, "architecture", json_string(c->platform.arch));
        (void) json_object_set_new(o, "variant", json_string(c->platform.variant));
        return o;
}

static void dump(const json_t *o, char **ret, size_t *ret_len) {
        *ret = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
        if (!*ret)
                abort();
        *ret_len = strlen(*ret);
}

void record_encode(const struct image_record *image, char **ret, size_t *ret_len) {
        _cleanup_(json_unrefp) json_t *o = json_object();
        json_t *blobs = json_array(), *layers = json_array();

        for (size_t i = 0; i < image->n_blobs; i++) {
                json_t *b = json_object();
                (void) json_object_set_new(b, "digest", json_string(image->blobs[i].digest));
                (void) json_object_set_new(b, "size", json_integer((json_int_t) image->blobs[i].size));
                if (image->blobs[i].layer)
                        (void) json_object_set_new(b, "layer", json_true());
                (void) json_array_append_new(blobs, b);
        }
        for (size_t i = 0; i < image->n_layers; i++)
                (void) json_array_append_new(layers, json_string(image->layers[i]));
        (void) json_object_set_new(o, "blobs", blobs);
        (void) json_object_set_new(o, "layers", layers);
        (void) json_object_set_new(o, "config", config_encode(image->config));
        (void) json_object_set_new(o, "made", json_boolean(image->made));
        (void) json_object_set_new(o, "pulled", json_integer((json_int_t) image->pulled_s));
        (void) json_object_set_new(o, "used", json_integer((json_int_t) image->used_s));
        dump(o, ret, ret_len);
}

int record_set_used(const void *value, size_t len, uint64_t used_s, char **ret, size_t *ret_len, struct err *err) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        int r = json_parse(value, len, "the record", &o, err);

        if (r < 0)
                return r;
        (void) json_object_set_new(o, "used", json_integer((json_int_t) used_s));
        dump(o, ret, ret_len);
        return 0;
}

static int blobs_decode(const json_t *o, struct arena *arena, struct image_record *ret, struct err *err) {
        const json_t *list;
        struct record_blob *blobs;
        int r = json_get_array(o, "blobs", RECORD_BLOBS_MAX, &list, err);

        if (r < 0)
                return r;
        ret->n_blobs = json_array_size(list);
        ret->blobs = blobs = arena_array(arena, struct record_blob, ret->n_blobs + 1);
        for (size_t i = 0; r == 0 && i < ret->n_blobs; i++) {
                blobs[i].layer = json_is_true(json_object_get(json_array_get(list, i), "layer"));
                r = json_get_string(json_array_get(list, i), "digest", arena, &blobs[i].digest, err);
                if (r == 0)
                        r = json_get_u64(json_array_get(list, i), "size", &blobs[i].size, err);
                if (r == 0 && !digest_is_valid(blobs[i].digest))
                        r = err_set(err, ERR_DATA_LOSS, "a blob has no valid digest");
        }
        return r;
}

/* Twice the limit for labels: they are pairs. */
static int config_decode(const json_t *o, struct arena *arena, struct image_config *ret, struct err *err) {
        const struct {
                const char *name;
                const char ***to;
        } lists[] = { { "entrypoint", &ret->entrypoint },
                      { "cmd", &ret->cmd },
                      { "env", &ret->env },
                      { "volumes", &ret->volumes },
                      { "labels", &ret->labels } };
        int r = 0;

        for (size_t i = 0; r == 0 && i < ELEMENTSOF(lists); i++)
                r = json_get_strings(o, lists[i].name, 2 * CONFIG_STRINGS_MAX, arena, lists[i].to, err);
        if (r == 0)
                r = json_get_string(o, "user", arena, &ret->user, err);
        if (r == 0)
                r = json_get_string(o, "working_dir", arena, &ret->working_dir, err);
        if (r == 0)
                r = json_get_string(o, "stop_signal", arena, &ret->stop_signal, err);
        /* Records from before this was kept say nothing of it. */
        if (r == 0)
                r = json_get_string(o, "os", arena, &ret->platform.os, err);
        if (r == 0)
                r = json_get_string(o, "architecture", arena, &ret->platform.arch, err);
        return r == 0 ? json_get_string(o, "variant", arena, &ret->platform.variant, err) : r;
}

static int layers_decode(const json_t *o, struct arena *arena, const char ***ret, size_t *ret_n, struct err *err) {
        int r = json_get_strings(o, "layers", LAYERS_MAX, arena, ret, err);

        if (r < 0)
                return r;
        for (*ret_n = 0; (*ret)[*ret_n]; (*ret_n)++)
                if (!digest_is_valid((*ret)[*ret_n]))
                        return err_set(err, ERR_DATA_LOSS, "a layer has no valid chain id");
        return 0;
}

int record_decode(const void *value, size_t len, struct arena *arena, struct image_record *ret,
                  struct image_config *ret_config, struct err *err) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        const char **layers = NULL;
        int r;

        *ret = (struct image_record){ 0 };
        r = json_parse(value, len, "the record", &o, err);
        if (r == 0)
                r = blobs_decode(o, arena, ret, err);
        if (r == 0)
                r = layers_decode(o, arena, &layers, &ret->n_layers, err);
        ret->layers = layers;
        /* These three came later: records without them are of images that were pulled nobody knows when. */
        ret->made = json_is_true(json_object_get(o, "made"));
        if (r == 0)
                r = json_get_u64(o, "pulled", &ret->pulled_s, err);
        if (r == 0)
                r = json_get_u64(o, "used", &ret->used_s, err);
        if (r == 0 && ret_config)
                r = config_decode(json_object_get(o, "config"), arena, ret_config, err);
        return r;
}

void record_encode_layer(uint64_t bytes, uint64_t inodes, char out[80]) {
        (void) snprintf(out, 80, "{\"bytes\":%llu,\"inodes\":%llu}", (unsigned long long) bytes,
                        (unsigned long long) inodes);
}

int record_decode_layer(const void *value, size_t len, uint64_t *ret_bytes, uint64_t *ret_inodes, struct err *err) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        int r = json_parse(value, len, "the record", &o, err);

        if (r == 0)
                r = json_get_u64(o, "bytes", ret_bytes, err);
        return r == 0 ? json_get_u64(o, "inodes", ret_inodes, err) : r;
}

int record_snapshot_list(const json_t *o, const char *name, struct arena *arena, const char ***ret, struct err *err) {
        if (!json_is_array(json_object_get(o, name)) && (json_object_get(o, name) || !str_eq(name, "volumes")))
                return err_set(err, ERR_DATA_LOSS, "the record has no list \"%s\"", name);
        return json_get_strings(o, name, RECORD_CHAINS_MAX, arena, ret, err);
}

enum { MAPS_MAX = 340 }; /* the kernel's, of one user namespace */

static json_t *encode_maps(const struct id_map *maps, size_t n) {
        json_t *list = json_array();

        for (size_t i = 0; i < n; i++) {
                json_t *m = json_pack("[I,I,I]", (json_int_t) maps[i].inside, (json_int_t) maps[i].outside,
                                      (json_int_t) maps[i].length);

                if (json_array_append_new(list, m) < 0)
                        abort();
        }
        return list;
}

void record_put_owners(json_t *o, const struct id_maps *owners) {
        if (owners && (json_object_set_new(o, "uids", encode_maps(owners->uids, owners->n_uids)) < 0 ||
                       json_object_set_new(o, "gids", encode_maps(owners->gids, owners->n_gids)) < 0))
                abort();
}

static bool decode_id(const json_t *list, size_t i, uint32_t *ret) {
        const json_t *v = json_array_get(list, i);

        *ret = (uint32_t) json_integer_value(v);
        return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= UINT32_MAX;
}

static int decode_maps(const json_t *o, const char *name, struct arena *arena, const struct id_map **ret, size_t *ret_n,
                       struct err *err) {
        const json_t *list = json_object_get(o, name);
        size_t n = json_array_size(list);
        struct id_map *maps;

        if (n == 0 || n > MAPS_MAX)
                return err_set(err, ERR_DATA_LOSS, "the record has no list \"%s\" of ids", name);
        maps = arena_array(arena, struct id_map, n);
        for (size_t i = 0; i < n; i++) {
                const json_t *v = json_array_get(list, i);

                if (!decode_id(v, 0, &maps[i].inside) || !decode_id(v, 1, &maps[i].outside) ||
                    !decode_id(v, 2, &maps[i].length))
                        return err_set(err, ERR_DATA_LOSS, "the record's \"%s\" are no ids", name);
        }
        *ret = maps;
        *ret_n = n;
        return 0;
}

int record_get_owners(const json_t *o, struct arena *arena, const struct id_maps **ret, struct err *err) {
        struct id_maps *maps = arena_new_of(arena, struct id_maps);
        int r;

        *ret = NULL;
        if (!json_object_get(o, "uids") && !json_object_get(o, "gids"))
                return 0;
        r = decode_maps(o, "uids", arena, &maps->uids, &maps->n_uids, err);
        if (r == 0)
                r = decode_maps(o, "gids", arena, &maps->gids, &maps->n_gids, err);
        if (r == 0)
                *ret = maps;
        return r;
}

int record_decode_snapshot(const void *value, size_t len, struct arena *arena, const char ***ret_layers,
                           const char ***ret_volumes, struct err *err) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        int r = json_parse(value, len, "the record", &o, err);

        if (r == 0)
                r = record_snapshot_list(o, "layers", arena, ret_layers, err);
        return r == 0 ? record_snapshot_list(o, "volumes", arena, ret_volumes, err) : r;
}
