/* SPDX-License-Identifier: Apache-2.0 */
/* The image config: what is applied to containers, and the digests of the unpacked layers. */
#include "image/manifest.h"

#include <string.h>
#include "base/str.h"
#include "image/ref.h"

/* {"NAME": {}, ...}: the names. */
static int keys_of(const json_t *o, const char *key, struct arena *arena, const char ***ret, struct err *err) {
        const json_t *v;
        const char *name;
        const char **list;
        json_t *value;
        size_t n = 0;
        int r = json_get_object(o, key, CONFIG_STRINGS_MAX, &v, err);

        if (r < 0)
                return r;
        list = arena_array(arena, const char *, json_object_size(v) + 1);
        json_object_foreach((json_t *) v, name, value) list[n++] = arena_strdup(arena, name);
        *ret = list;
        return 0;
}

/* {"KEY": "VALUE", ...}: key, value, key, value. */
static int pairs_of(const json_t *o, const char *key, struct arena *arena, const char ***ret, struct err *err) {
        const json_t *v;
        const char *name;
        const char **list;
        json_t *value;
        size_t n = 0;
        int r = json_get_object(o, key, CONFIG_STRINGS_MAX, &v, err);

        if (r < 0)
                return r;
        list = arena_array(arena, const char *, 2 * json_object_size(v) + 1);
        json_object_foreach((json_t *) v, name, value) {
                if (!json_is_string(value))
                        return err_set(err, ERR_INVALID, "\"%s\" is no object of strings", key);
                list[n++] = arena_strdup(arena, name);
                list[n++] = arena_strdup(arena, json_string_value(value));
        }
        *ret = list;
        return 0;
}

/* How much text @j holds; what is kept must stay small, since lists of images carry all of it. */
static size_t text_bytes(const json_t *j) {
        const char *name;
        json_t *value;
        size_t i, sum = 0;

        switch (json_typeof(j)) {
        case JSON_STRING:
                return json_string_length(j) + 16;
        case JSON_ARRAY:
                json_array_foreach((json_t *) j, i, value) sum += text_bytes(value);
                return sum;
        case JSON_OBJECT:
                json_object_foreach((json_t *) j, name, value) sum += strlen(name) + 16 + text_bytes(value);
                return sum;
        default:
                return 0;
        }
}

static int applied_decode(const json_t *doc, struct arena *arena, struct image_config *ret, struct err *err) {
        static const char *const none[] = { NULL };
        const json_t *o;
        int r = json_get_object(doc, "config", 1000, &o, err);

        if (r < 0)
                return r;
        ret->entrypoint = ret->cmd = ret->env = ret->volumes = ret->labels = (const char **) none;
        ret->user = ret->working_dir = ret->stop_signal = "";
        if (!o)
                return 0;
        if (text_bytes(o) > CONFIG_STRINGS_BYTES_MAX)
                return err_set(err, ERR_EXHAUSTED, "the image config holds more than %d bytes",
                               CONFIG_STRINGS_BYTES_MAX);
        r = json_get_strings(o, "Entrypoint", CONFIG_STRINGS_MAX, arena, &ret->entrypoint, err);
        if (r == 0)
                r = json_get_strings(o, "Cmd", CONFIG_STRINGS_MAX, arena, &ret->cmd, err);
        if (r == 0)
                r = json_get_strings(o, "Env", CONFIG_STRINGS_MAX, arena, &ret->env, err);
        if (r == 0)
                r = keys_of(o, "Volumes", arena, &ret->volumes, err);
        if (r == 0)
                r = pairs_of(o, "Labels", arena, &ret->labels, err);
        if (r == 0)
                r = json_get_string(o, "User", arena, &ret->user, err);
        if (r == 0)
                r = json_get_string(o, "WorkingDir", arena, &ret->working_dir, err);
        return r == 0 ? json_get_string(o, "StopSignal", arena, &ret->stop_signal, err) : r;
}

static int rootfs_decode(const json_t *doc, struct arena *arena, struct image_config *ret, struct err *err) {
        const json_t *rootfs;
        const char *type;
        int r = json_get_object(doc, "rootfs", 100, &rootfs, err);

        if (r < 0)
                return r;
        if (!rootfs)
                return err_set(err, ERR_INVALID, "the image config has no rootfs");
        r = json_get_string(rootfs, "type", arena, &type, err);
        if (r == 0)
                r = json_get_strings(rootfs, "diff_ids", LAYERS_MAX, arena, &ret->diff_ids, err);
        if (r < 0)
                return r;
        if (!str_eq(type, "layers"))
                return err_set(err, ERR_INVALID, "the image config's rootfs is \"%.50s\", not \"layers\"", type);
        while (ret->diff_ids[ret->n_diff_ids])
                if (!digest_is_valid(ret->diff_ids[ret->n_diff_ids++]))
                        return err_set(err, ERR_INVALID, "a diff_id is not sha256: and 64 lower-case hex digits");
        return 0;
}

int config_parse(const char *data, size_t len, struct arena *arena, struct image_config *ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *doc = NULL;
        struct image_config c = { 0 };
        int r;

        if (len > CONFIG_BYTES_MAX)
                return err_set(err, ERR_EXHAUSTED, "the image config is larger than %d bytes", CONFIG_BYTES_MAX);
        r = json_parse(data, len, "the image config", &doc, err);
        if (r == 0)
                r = json_get_string(doc, "os", arena, &c.platform.os, err);
        if (r == 0)
                r = json_get_string(doc, "architecture", arena, &c.platform.arch, err);
        if (r == 0)
                r = json_get_string(doc, "variant", arena, &c.platform.variant, err);
        if (r == 0)
                r = applied_decode(doc, arena, &c, err);
        if (r == 0)
                r = rootfs_decode(doc, arena, &c, err);
        if (r == 0)
                *ret = c;
        return r;
}
