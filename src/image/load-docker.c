/* SPDX-License-Identifier: Apache-2.0 */
/* What `docker save` writes: manifest.json, a config for each image, layers by path. */
#include <openssl/evp.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/load-internal.h"

static const char *hash_file(struct load *l, const struct archive_file *f, struct err *err) {
        EVP_MD_CTX *hash = EVP_MD_CTX_new();
        unsigned char md[EVP_MAX_MD_SIZE];
        char hex[2 * EVP_MAX_MD_SIZE + 1];
        unsigned len = 0;
        int r = 0;

        if (!hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
                abort();
        for (uint64_t at = 0; r == 0 && at < f->size;) {
                size_t n = (size_t) MIN_OF((uint64_t) LOAD_BUFFER_BYTES, f->size - at);

                r = load_check_cancelled(l, err);
                if (r == 0)
                        r = archive_pread(f, l->buffer, n, at, err);
                if (r == 0 && EVP_DigestUpdate(hash, l->buffer, n) != 1)
                        abort();
                at += n;
        }
        if (EVP_DigestFinal_ex(hash, md, &len) != 1)
                abort();
        EVP_MD_CTX_free(hash);
        hex_encode(md, len, hex);
        return r < 0 ? NULL : arena_printf(l->work, "sha256:%s", hex);
}

/* Uncompressed, its digest is the diff id; some tools compress them. */
static int put_docker_layer(struct load *l, const char *path, const char *diff_id, struct strbuf *manifest,
                            struct err *err) {
        static const char *const endings[] = {
                [INFLATE_NONE] = "", [INFLATE_GZIP] = ".gzip", [INFLATE_ZSTD] = ".zstd"
        };
        _cleanup_(archive_file_done) struct archive_file f = { .fd = -1 };
        enum inflate_kind kind = INFLATE_NONE;
        const char *digest = diff_id;
        int r = load_missing(archive_find(l->archive, path, &f, err), err);

        if (r == 0)
                r = load_check_layer_size(l, &f, err);
        if (r == 0)
                r = archive_compression(&f, &kind, err);
        if (r < 0)
                return r;
        if (kind != INFLATE_NONE)
                digest = hash_file(l, &f, err);
        if (!digest)
                return -(int) err->code;
        strbuf_printf(
                manifest,
                "{\"mediaType\":\"application/vnd.docker.image.rootfs.diff.tar%s\",\"size\":%llu,\"digest\":\"%s\"}",
                endings[kind], (unsigned long long) f.size, digest);
        return load_put_layer(l, &f, digest, err);
}

static int docker_image(struct load *l, const char *config_path, const char *const *layers, struct strbuf *manifest,
                        size_t *ret_n, struct err *err) {
        _cleanup_(freep) char *data = NULL;
        struct image_config config = { 0 };
        char digest[DIGEST_LEN + 1];
        size_t len, n = strv_len(layers);
        int r = load_missing(archive_read(l->archive, config_path, CONFIG_BYTES_MAX, &data, &len, err), err);

        if (r == 0)
                r = config_parse(data, len, l->work, &config, err);
        if (r == 0 && config.n_diff_ids != n)
                r = err_set(err, ERR_INVALID, "it has %zu layers, manifest.json %zu", config.n_diff_ids, n);
        if (r != 0)
                return err_wrap(err, "config \"%.100s\"", config_path);
        digest_of(data, len, digest);
        r = load_put_document(l, digest, data, len, err);
        strbuf_printf(manifest,
                      "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\","
                      "\"config\":{\"mediaType\":\"application/vnd.docker.container.image.v1+json\",\"size\":%zu,"
                      "\"digest\":\"%s\"},\"layers\":[",
                      len, digest);
        l->n_layers += n;
        for (size_t i = 0; r == 0 && i < n; i++, l->layer++) {
                strbuf_puts(manifest, i ? "," : "");
                r = put_docker_layer(l, layers[i], config.diff_ids[i], manifest, err);
                if (r < 0)
                        return err_wrap(err, "layer \"%.100s\"", layers[i]);
        }
        strbuf_puts(manifest, "]}");
        *ret_n = n;
        return r;
}

static int read_docker_image(struct load *l, const json_t *o, struct err *err) {
        _cleanup_(arena_freep) struct arena *work = arena_new(PULL_ARENA_MAX);
        _cleanup_strbuf_ struct strbuf manifest = STRBUF(MANIFEST_BYTES_MAX);
        const char *config = "", **layers = NULL, **tags = NULL;
        char digest[DIGEST_LEN + 1];
        struct loading *image;
        size_t n_layers;
        int r;

        l->work = work;
        r = json_get_string(o, "Config", work, &config, err);
        if (r == 0)
                r = json_get_strings(o, "Layers", LAYERS_MAX, work, &layers, err);
        if (r == 0)
                r = json_get_strings(o, "RepoTags", LOAD_NAMES_MAX, work, &tags, err);
        if (r != 0)
                return err_wrap(err, "manifest.json");
        r = docker_image(l, config, layers, &manifest, &n_layers, err);
        if (r < 0)
                return r;
        digest_of(strbuf_str(&manifest), manifest.len, digest);
        r = load_put_document(l, digest, strbuf_str(&manifest), manifest.len, err);
        if (r == 0)
                r = load_add_image(l, digest, n_layers, &image, err);
        for (; r == 0 && tags && *tags; tags++) {
                const char *name;

                r = load_full_name(*tags, l->arena, &name, err);
                if (r == 0)
                        r = load_add_name(l, image, name, err);
        }
        return r;
}

int load_docker(struct load *l, struct err *err) {
        _cleanup_(freep) char *data = NULL;
        _cleanup_(json_unrefp) json_t *list = NULL;
        size_t len;
        int r = archive_read(l->archive, "manifest.json", MANIFEST_BYTES_MAX, &data, &len, err);

        if (r == 0)
                r = json_load_array(data, len, JSON_VALUES_MAX, "it", &list, err);
        if (r == 0 && json_array_size(list) == 0)
                r = err_set(err, ERR_INVALID, "there is no image in it");
        if (r == 0 && json_array_size(list) > LOAD_IMAGES_MAX)
                r = err_set(err, ERR_EXHAUSTED, "it has more than %d images", LOAD_IMAGES_MAX);
        if (r < 0)
                return err_wrap(err, "manifest.json");
        for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
                r = read_docker_image(l, json_array_get(list, i), err);
                if (r < 0)
                        return err_wrap(err, "image %zu of it", i + 1);
        }
        return r;
}
