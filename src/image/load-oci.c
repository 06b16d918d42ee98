/* SPDX-License-Identifier: Apache-2.0 */
/* OCI image layouts: index.json, and blobs by their digests. */
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/load-internal.h"

struct entry {
        struct descriptor d;
        const char *name; /* full; NULL: it has none */
};

static const char *blob_path(const struct load *l, const char *digest) {
        return arena_printf(l->work, "blobs/sha256/%s", digest + strlen("sha256:"));
}

static int read_blob(const struct load *l, const struct descriptor *d, size_t max, char **ret, size_t *ret_len,
                     struct err *err) {
        char have[DIGEST_LEN + 1];
        int r = archive_read(l->archive, blob_path(l, d->digest), max, ret, ret_len, err);

        if (r < 0)
                return load_missing(r, err);
        digest_of(*ret, *ret_len, have);
        if (*ret_len != d->size || !str_eq(have, d->digest))
                return err_set(err, ERR_DATA_LOSS, "%s has %zu bytes with the digest %s, not %llu bytes with its own",
                               d->digest, *ret_len, have, (unsigned long long) d->size);
        return 0;
}

/* containerd, Docker and buildkit give a full name. What others give need be no name at all, but a tag beside the
 * archive's own name, which says nothing here: one without ":" and "/" is none. */
static const char *name_of(const json_t *annotations, struct arena *arena) {
        const char *full = json_string_value(json_object_get(annotations, "io.containerd.image.name"));
        const char *other = json_string_value(json_object_get(annotations, "org.opencontainers.image.ref.name"));
        const char *name = NULL;
        struct err ignored;

        if (full && load_full_name(full, arena, &name, &ignored) == 0)
                return name;
        if (other && strpbrk(other, ":/") && load_full_name(other, arena, &name, &ignored) == 0)
                return name;
        return NULL;
}

/* Of what has the same name, or has none and says for which platforms, one is the best. */
static bool is_alternative(const struct entry *a, const struct entry *b) {
        if (a->name || b->name)
                return str_eq(a->name, b->name);
        return *a->d.platform.os && *b->d.platform.os;
}

static bool is_chosen(const struct platform *platform, const struct entry *list, size_t n, size_t i) {
        int score = platform_score(&list[i].d.platform, platform), other;

        if (score == 0)
                return false;
        for (size_t k = 0; k < n; k++) {
                other = platform_score(&list[k].d.platform, platform);
                if (k != i && is_alternative(&list[i], &list[k]) && (other > score || (other == score && k < i)))
                        return false;
        }
        return true;
}

/* From an entry down to the manifest for the platform. */
static int find_manifest(struct load *l, struct descriptor d, const char **ret_digest, struct manifest *ret,
                         struct err *err) {
        for (unsigned depth = 0;; depth++) {
                _cleanup_(freep) char *data = NULL;
                const struct descriptor *chosen;
                size_t len;
                int r = read_blob(l, &d, MANIFEST_BYTES_MAX, &data, &len, err);

                if (r == 0)
                        r = manifest_parse(data, len, d.media_type, l->work, ret, err);
                if (r < 0)
                        return err_wrap(err, "manifest");
                if (!ret->is_index) {
                        *ret_digest = d.digest;
                        return load_put_document(l, d.digest, data, len, err);
                }
                if (depth == INDEX_DEPTH_MAX)
                        return err_set(err, ERR_EXHAUSTED, "indexes are nested deeper than %d", INDEX_DEPTH_MAX);
                r = manifest_choose(ret, &l->platform, &chosen, err);
                if (r < 0)
                        return r;
                d = *chosen;
        }
}

static int put_oci_config(struct load *l, const struct descriptor *d, struct err *err) {
        _cleanup_(freep) char *data = NULL;
        size_t len;
        int r = read_blob(l, d, CONFIG_BYTES_MAX, &data, &len, err);

        if (r == 0)
                r = load_put_document(l, d->digest, data, len, err);
        return r < 0 ? err_wrap(err, "config") : 0;
}

static int put_oci_layer(struct load *l, const struct descriptor *d, struct err *err) {
        _cleanup_(archive_file_done) struct archive_file f = { .fd = -1 };
        int r = load_missing(archive_find(l->archive, blob_path(l, d->digest), &f, err), err);

        if (r == 0 && f.size != d->size)
                r = err_set(err, ERR_DATA_LOSS, "it has %llu bytes, not the %llu that its manifest says",
                            (unsigned long long) f.size, (unsigned long long) d->size);
        if (r == 0)
                r = load_check_layer_size(l, &f, err);
        if (r == 0)
                r = load_put_layer(l, &f, d->digest, err);
        return r < 0 ? err_wrap(err, "layer %s", d->digest) : 0;
}

static int read_oci_image(struct load *l, const struct entry *e, struct err *err) {
        _cleanup_(arena_freep) struct arena *work = arena_new(PULL_ARENA_MAX);
        struct loading *image;
        struct manifest m = { 0 };
        const char *digest;
        size_t known = l->n_images;
        int r;

        l->work = work;
        r = find_manifest(l, e->d, &digest, &m, err);
        if (r == 0)
                r = load_add_image(l, digest, m.n_layers, &image, err);
        if (r == 0 && e->name)
                r = load_add_name(l, image, e->name, err);
        if (r < 0 || known == l->n_images)
                return r;
        l->n_layers += m.n_layers;
        r = put_oci_config(l, &m.config, err);
        for (size_t i = 0; r == 0 && i < m.n_layers; i++, l->layer++)
                r = put_oci_layer(l, &m.layers[i], err);
        return r;
}

static int read_index(struct load *l, struct entry **ret, size_t *ret_n, struct err *err) {
        _cleanup_(freep) char *data = NULL;
        _cleanup_(json_unrefp) json_t *doc = NULL;
        const json_t *list;
        struct manifest index;
        struct entry *entries;
        size_t len;
        int r = archive_read(l->archive, "index.json", MANIFEST_BYTES_MAX, &data, &len, err);

        if (r == 0)
                r = manifest_parse_any(data, len, "application/vnd.oci.image.index.v1+json", l->arena, &index, err);
        if (r == 0 && !index.is_index)
                r = err_set(err, ERR_INVALID, "it is no index");
        if (r == 0)
                r = json_parse(data, len, "it", &doc, err);
        if (r != 0)
                return err_wrap(err, "index.json");
        list = json_object_get(doc, "manifests");
        entries = arena_array(l->arena, struct entry, index.n_entries + 1);
        for (size_t i = 0; i < index.n_entries; i++)
                entries[i] = (struct entry){
                        .d = index.entries[i],
                        .name = name_of(json_object_get(json_array_get(list, i), "annotations"), l->arena),
                };
        *ret = entries;
        *ret_n = index.n_entries;
        return 0;
}

static int no_image(const struct platform *p, struct err *err) {
        return err_set(err, ERR_INVALID, "there is no image for %.50s/%.50s in it", p->os, p->arch);
}

int load_oci(struct load *l, struct err *err) {
        struct entry *entries = NULL;
        size_t n = 0;
        int r = read_index(l, &entries, &n, err);

        for (size_t i = 0; r == 0 && i < n; i++)
                if (is_chosen(&l->platform, entries, n, i)) {
                        r = read_oci_image(l, &entries[i], err);
                        if (r < 0)
                                return err_wrap(err, "image %s", entries[i].name ?: entries[i].d.digest);
                }
        return r == 0 && l->n_images == 0 ? no_image(&l->platform, err) : r;
}
