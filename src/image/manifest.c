/* SPDX-License-Identifier: Apache-2.0 */
#include "image/manifest.h"

#include <string.h>
#include "base/str.h"
#include "base/strbuf.h"
#include "image/ref.h"

#define OCI "application/vnd.oci.image."
#define DOCKER "application/vnd.docker."

static const char oci_index[] = OCI "index.v1+json", oci_manifest[] = OCI "manifest.v1+json";
static const char docker_list[] = DOCKER "distribution.manifest.list.v2+json";
static const char docker_manifest[] = DOCKER "distribution.manifest.v2+json";

const char manifest_accept[] = OCI "index.v1+json, " OCI "manifest.v1+json, " DOCKER
                                   "distribution.manifest.list.v2+json, " DOCKER "distribution.manifest.v2+json";

static bool among(const char *s, const char *const *list) {
        for (; *list; list++)
                if (str_eq(s, *list))
                        return true;
        return false;
}

static int descriptor_decode(const json_t *o, const char *what, struct arena *arena, struct descriptor *ret,
                             struct err *err) {
        int r;

        if (!json_is_object(o))
                return err_set(err, ERR_INVALID, "%s is missing or no object", what);
        r = json_get_string(o, "mediaType", arena, &ret->media_type, err);
        if (r == 0)
                r = json_get_string(o, "digest", arena, &ret->digest, err);
        if (r == 0)
                r = json_get_u64(o, "size", &ret->size, err);
        if (r < 0)
                return err_wrap(err, "%s", what);
        if (!digest_is_valid(ret->digest))
                return err_set(err, ERR_INVALID, "%s: the digest is not sha256: and 64 lower-case hex digits", what);
        return 0;
}

static int platform_decode(const json_t *o, struct arena *arena, struct platform *ret, struct err *err) {
        int r = json_get_string(o, "os", arena, &ret->os, err);

        if (r == 0)
                r = json_get_string(o, "architecture", arena, &ret->arch, err);
        return r == 0 ? json_get_string(o, "variant", arena, &ret->variant, err) : r;
}

static int index_decode(const json_t *doc, struct arena *arena, struct manifest *ret, struct err *err) {
        const json_t *list, *platform;
        int r = json_get_array(doc, "manifests", INDEX_ENTRIES_MAX, &list, err);

        if (r < 0)
                return r;
        ret->is_index = true;
        ret->n_entries = json_array_size(list);
        ret->entries = arena_array(arena, struct descriptor, ret->n_entries + 1);
        for (size_t i = 0; i < ret->n_entries; i++) {
                const json_t *o = json_array_get(list, i);
                struct descriptor *d = &ret->entries[i];

                d->platform = (struct platform){ "", "", "" };
                r = descriptor_decode(o, "index entry", arena, d, err);
                if (r == 0)
                        r = json_get_object(o, "platform", 100, &platform, err);
                if (r == 0 && platform)
                        r = platform_decode(platform, arena, &d->platform, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static bool is_image_config(const char *media_type) {
        static const char *const types[] = { OCI "config.v1+json", DOCKER "container.image.v1+json", NULL };

        return among(media_type, types);
}

bool manifest_is_image(const struct manifest *m) {
        return !m->is_index && is_image_config(m->config.media_type);
}

static int check_config_type(const struct descriptor *config, struct err *err) {
        if (is_image_config(config->media_type))
                return 0;
        return err_set(err, ERR_UNIMPLEMENTED, "this is an artifact, not an image: its config is \"%.100s\"",
                       config->media_type);
}

bool layer_is_foreign(const char *media_type) {
        return str_after(media_type, OCI "layer.nondistributable.") ||
               str_after(media_type, DOCKER "image.rootfs.foreign.");
}

static int check_layer_type(const struct descriptor *layer, struct err *err) {
        static const char *const types[] = { OCI "layer.v1.tar",
                                             OCI "layer.v1.tar+gzip",
                                             OCI "layer.v1.tar+zstd",
                                             DOCKER "image.rootfs.diff.tar",
                                             DOCKER "image.rootfs.diff.tar.gzip",
                                             DOCKER "image.rootfs.diff.tar.zstd",
                                             NULL };

        if (among(layer->media_type, types))
                return 0;
        if (layer_is_foreign(layer->media_type))
                return err_set(err, ERR_UNIMPLEMENTED,
                               "the image has foreign layers, which registries don't hold (%.100s)", layer->media_type);
        return err_set(err, ERR_UNIMPLEMENTED, "unknown kind of layer \"%.100s\"", layer->media_type);
}

static int image_decode(const json_t *doc, bool any, struct arena *arena, struct manifest *ret, struct err *err) {
        const json_t *list = NULL;
        int r;

        r = descriptor_decode(json_object_get(doc, "config"), "config", arena, &ret->config, err);
        if (r == 0 && !any)
                r = check_config_type(&ret->config, err);
        if (r == 0)
                r = json_get_array(doc, "layers", LAYERS_MAX, &list, err);
        if (r < 0)
                return r;
        if (!any && ret->config.size > CONFIG_BYTES_MAX)
                return err_set(err, ERR_EXHAUSTED, "the config is larger than %d bytes", CONFIG_BYTES_MAX);
        ret->n_layers = json_array_size(list);
        ret->layers = arena_array(arena, struct descriptor, ret->n_layers + 1);
        for (size_t i = 0; r == 0 && i < ret->n_layers; i++) {
                r = descriptor_decode(json_array_get(list, i), "layer", arena, &ret->layers[i], err);
                if (r == 0 && !any)
                        r = check_layer_type(&ret->layers[i], err);
        }
        return r;
}

/* Content-Type without its parameters. */
static const char *bare_type(const char *media_type, struct arena *arena) {
        return arena_strndup(arena, media_type, strcspn(media_type, "; "));
}

/* What the document is: its own word first (it is covered by the digest), then the registry's, then its members. */
static int kind_of(const json_t *doc, const char *content_type, struct arena *arena, struct manifest *ret,
                   struct err *err) {
        const char *type = "";
        uint64_t version = 0;
        int r = json_get_u64(doc, "schemaVersion", &version, err);

        if (r == 0)
                r = json_get_string(doc, "mediaType", arena, &type, err);
        if (r < 0)
                return r;
        if (!*type)
                type = bare_type(content_type, arena);
        if (version == 1 || str_after(type, DOCKER "distribution.manifest.v1+"))
                return err_set(err, ERR_UNIMPLEMENTED,
                               "it is a Docker schema 1 manifest, obsolete since 2017; push the image again with a "
                               "current tool");
        if (version != 2)
                return err_set(err, ERR_INVALID, "schemaVersion is %llu, not 2", (unsigned long long) version);
        ret->is_index = str_eq(type, oci_index) || str_eq(type, docker_list);
        ret->media_type = type;
        if (ret->is_index || str_eq(type, oci_manifest) || str_eq(type, docker_manifest))
                return 0;
        if (*type && !str_eq(type, "application/json") && !str_eq(type, "text/plain") &&
            !str_eq(type, "application/octet-stream"))
                return err_set(err, ERR_UNIMPLEMENTED, "unknown kind of manifest \"%.100s\"", type);
        ret->is_index = json_object_get(doc, "manifests") != NULL;
        ret->media_type = ret->is_index ? oci_index : oci_manifest;
        return 0;
}

static int parse(const char *data, size_t len, const char *media_type, bool any, struct arena *arena,
                 struct manifest *ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *doc = NULL;
        struct manifest m = { 0 };
        int r;

        if (len > MANIFEST_BYTES_MAX)
                return err_set(err, ERR_EXHAUSTED, "the manifest is larger than %d bytes", MANIFEST_BYTES_MAX);
        r = json_parse(data, len, "the manifest", &doc, err);
        if (r == 0)
                r = kind_of(doc, media_type, arena, &m, err);
        if (r < 0)
                return r;
        /* One document that is both would be read differently by different programs (CVE-2021-41190). */
        if (json_object_get(doc, "manifests") && (json_object_get(doc, "layers") || json_object_get(doc, "config")))
                return err_set(err, ERR_INVALID, "the manifest is ambiguous: both an index and an image");
        r = m.is_index ? index_decode(doc, arena, &m, err) : image_decode(doc, any, arena, &m, err);
        if (r == 0)
                *ret = m;
        return r;
}

int manifest_parse(const char *data, size_t len, const char *media_type, struct arena *arena, struct manifest *ret,
                   struct err *err) {
        return parse(data, len, media_type, false, arena, ret, err);
}

int manifest_parse_any(const char *data, size_t len, const char *media_type, struct arena *arena, struct manifest *ret,
                       struct err *err) {
        return parse(data, len, media_type, true, arena, ret, err);
}

int manifest_choose(const struct manifest *index, const struct platform *host, const struct descriptor **ret,
                    struct err *err) {
        _cleanup_strbuf_ struct strbuf have = STRBUF(400);
        const struct descriptor *best = NULL;
        int best_score = 0;

        for (size_t i = 0; i < index->n_entries; i++) {
                const struct descriptor *d = &index->entries[i];
                int score = platform_score(&d->platform, host);

                if (score > best_score) {
                        best_score = score;
                        best = d;
                }
                if (*d->platform.os && !str_eq(d->platform.os, "unknown"))
                        strbuf_printf(&have, "%s%.30s/%.30s%s%.30s", have.len ? ", " : "", d->platform.os,
                                      d->platform.arch, *d->platform.variant ? "/" : "", d->platform.variant);
        }
        if (!best)
                return err_set(err, ERR_NOT_FOUND, "no image for %s/%s%s%s; there is: %s", host->os, host->arch,
                               *host->variant ? "/" : "", host->variant, have.len ? strbuf_str(&have) : "none");
        *ret = best;
        return 0;
}
