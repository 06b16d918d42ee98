/* SPDX-License-Identifier: Apache-2.0 */
/* What a registry has, looked at and fetched without a pull. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/images.h"
#include "image/manifest.h"
#include "image/pull.h"

enum { PARSE_ARENA = 64 << 20, REPORT_MS = 100 };

/* --- manifest and config ----------------------------------------------------------------------------------------- */

static int get_manifest(struct source *source, const char *reference, const struct descriptor *entry, struct arena *own,
                        struct arena *arena, struct manifest *ret, const char **ret_digest, const char **ret_data,
                        size_t *ret_len, struct err *err) {
        _cleanup_strbuf_ struct strbuf body = { 0 };
        char digest[DIGEST_LEN + 1];
        const char *type;
        int r = source_get_manifest(source, reference, own, &body, &type, err);

        if (r == 0 && entry && entry->size != body.len)
                r = err_set(err, ERR_DATA_LOSS, "manifest %s has %zu bytes, not the %llu that the index says",
                            entry->digest, body.len, (unsigned long long) entry->size);
        if (r == 0)
                r = manifest_parse_any(strbuf_str(&body), body.len, type, own, ret, err);
        if (r != 0)
                return r;
        digest_of(strbuf_str(&body), body.len, digest);
        *ret_digest = arena_strdup(arena, digest);
        *ret_data = arena_memdup(arena, strbuf_str(&body), body.len);
        *ret_len = body.len;
        return 0;
}

static int get_config(struct source *source, const struct descriptor *d, struct arena *arena,
                      struct image_remote_manifest *ret, struct err *err) {
        _cleanup_strbuf_ struct strbuf body = { 0 };
        int r = source_get_document(source, d->digest, d->size, CONFIG_BYTES_MAX, &body, err);

        if (r < 0)
                return err_wrap(err, "fetch config");
        ret->config = arena_memdup(arena, strbuf_str(&body), body.len);
        ret->config_len = body.len;
        return 0;
}

static int inspect(struct source *source, const struct ref *ref, bool with_image, struct arena *arena,
                   struct image_remote_manifest *ret, struct err *err) {
        _cleanup_(arena_freep) struct arena *own = arena_new(PARSE_ARENA);
        const struct descriptor *chosen = NULL;
        struct manifest m = { 0 };
        int r = get_manifest(source, ref->digest ?: ref->tag, NULL, own, arena, &m, &ret->digest, &ret->data, &ret->len,
                             err);

        if (r != 0)
                return r;
        ret->media_type = arena_strdup(arena, m.media_type);
        ret->image_digest = ret->digest;
        ret->image_data = ret->data;
        ret->image_len = ret->len;
        for (unsigned depth = 0; r == 0 && with_image && m.is_index; depth++) {
                struct manifest child;

                if (depth == INDEX_DEPTH_MAX)
                        return err_set(err, ERR_EXHAUSTED, "indexes are nested deeper than %d", INDEX_DEPTH_MAX);
                r = manifest_choose(&m, platform_host(), &chosen, err);
                if (r == -ERR_NOT_FOUND) { /* which is not what was asked */
                        ret->image_digest = ret->image_data = "";
                        ret->image_len = 0;
                        return 0;
                }
                if (r == 0)
                        r = get_manifest(source, chosen->digest, chosen, own, arena, &child, &ret->image_digest,
                                         &ret->image_data, &ret->image_len, err);
                if (r == 0)
                        m = child;
        }
        if (r == 0 && with_image && manifest_is_image(&m))
                r = get_config(source, &m.config, arena, ret, err);
        return r;
}

int images_inspect_remote(struct images *s, const struct image_remote *remote, bool with_image, struct arena *arena,
                          struct image_remote_manifest *ret, struct err *err) {
        _cleanup_(remote_done) struct remote at = { 0 };
        int r = remote_open(s, remote, arena, &at, err);

        *ret = (struct image_remote_manifest){ 0 };
        if (r < 0)
                return r;
        r = inspect(at.source, &at.ref, with_image, arena, ret, err);
        return r < 0 ? err_wrap(err, "look at %s", ref_string(&at.ref, arena)) : 0;
}

/* --- blobs ------------------------------------------------------------------------------------------------------- */

struct fetch {
        const struct image_fetch *blob;
        size_t number, n;
        uint64_t done, reported_ns;
        EVP_MD_CTX *hash;
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata);
        void *userdata;
};

static void report(struct fetch *f, int state) {
        const struct image_progress p = {
                .digest = f->blob->digest, .total_bytes = f->blob->size_bytes, .done_bytes = f->done, .state = state
        };

        f->reported_ns = clock_monotonic_ns();
        if (f->progress)
                f->progress(&p, f->number, f->n, f->userdata);
}

static int take(const void *data, size_t len, void *userdata, struct err *err) {
        struct fetch *f = userdata;
        int r = fs_write_all(f->blob->fd, data, len);

        if (r < 0)
                return err_sys(err, -r, "write it");
        if (EVP_DigestUpdate(f->hash, data, len) != 1)
                abort();
        f->done += len;
        if (clock_monotonic_ns() - f->reported_ns >= REPORT_MS * 1000000ull)
                report(f, LAYER_DOWNLOADING);
        return 0;
}

static int check(struct fetch *f, struct err *err) {
        unsigned char md[EVP_MAX_MD_SIZE];
        char hex[2 * EVP_MAX_MD_SIZE + 1];
        unsigned len = 0;

        if (EVP_DigestFinal_ex(f->hash, md, &len) != 1)
                abort();
        hex_encode(md, len, hex);
        return str_eq(hex, f->blob->digest + strlen("sha256:"))
                       ? 0
                       : err_set(err, ERR_DATA_LOSS, "what came is sha256:%s", hex);
}

static int fetch_once(struct source *source, struct fetch *f, bool no_mirrors, struct err *err) {
        const struct blob_sink sink = { take, f };
        int r;

        if (ftruncate(f->blob->fd, 0) < 0 || lseek(f->blob->fd, 0, SEEK_SET) < 0)
                return err_sys(err, errno, "empty it");
        f->done = 0;
        if (EVP_DigestInit_ex(f->hash, EVP_sha256(), NULL) != 1)
                abort();
        report(f, LAYER_DOWNLOADING);
        r = source_get_blob(source, f->blob->digest, f->blob->size_bytes, &sink, no_mirrors, err);
        return r == 0 ? check(f, err) : r;
}

static int fetch(struct source *source, struct fetch *f, struct err *err) {
        int r;

        f->hash = EVP_MD_CTX_new();
        if (!f->hash)
                abort();
        r = fetch_once(source, f, false, err);
        if (r == -ERR_DATA_LOSS && source_has_mirrors(source)) /* one of them serves rubbish */
                r = fetch_once(source, f, true, err);
        if (r == 0)
                report(f, LAYER_DONE);
        EVP_MD_CTX_free(f->hash);
        return r < 0 ? err_wrap(err, "fetch %s", f->blob->digest) : 0;
}

static int check_file(const struct image_fetch *blob, struct err *err) {
        struct stat st;

        if (!digest_is_valid(blob->digest))
                return err_set(err, ERR_INVALID, "\"%.80s\" is no digest", blob->digest);
        if (fstat(blob->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > 0 ||
            (fcntl(blob->fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
                return err_set(err, ERR_INVALID, "%s is to go into something else than an empty file", blob->digest);
        return 0;
}

int images_fetch_blobs(struct images *s, const struct image_remote *remote, const struct image_fetch *blobs, size_t n,
                       void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata),
                       void *userdata, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 * 1024);
        _cleanup_(remote_done) struct remote at = { 0 };
        int r = remote_open(s, remote, arena, &at, err);

        for (size_t i = 0; r == 0 && i < n; i++)
                r = check_file(&blobs[i], err);
        for (size_t i = 0; r == 0 && i < n; i++) {
                struct fetch f = { .blob = &blobs[i], .number = i, .n = n, .progress = progress, .userdata = userdata };

                r = fetch(at.source, &f, err);
        }
        return r < 0 ? err_wrap(err, "%.300s", remote->name) : 0;
}
