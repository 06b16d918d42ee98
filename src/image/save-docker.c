/* SPDX-License-Identifier: Apache-2.0 */
/* What `docker load` takes: layers uncompressed, called by their diff ids, the config by the image's id, and
 * manifest.json with the names, as Podman and Skopeo write it. What Docker read before 1.10 is left out. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/inflate.h"
#include "image/save-internal.h"

struct save_plain {
        int fd; /* has no name */
        struct inflate *inflate;
        EVP_MD_CTX *hash;
        uint64_t size;
        uint8_t *buffer;
};

int save_plain_new(struct saver *s, const struct descriptor *blob, struct save_plain **ret, struct err *err) {
        enum inflate_kind kind;
        struct save_plain *p;
        int fd;

        *ret = NULL;
        if (!inflate_kind_of(blob->media_type, &kind))
                return err_set(err, ERR_INVALID, "unknown kind of layer \"%.100s\"", blob->media_type);
        if (kind == INFLATE_NONE)
                return 0;
        fd = openat(content_dirfd(s->env->content), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_sys(err, errno, "make a file to decompress it into");
        p = xnew(struct save_plain);
        p->fd = fd;
        p->inflate = inflate_new(kind);
        p->buffer = xcalloc(1, SAVE_BUFFER_BYTES);
        p->hash = EVP_MD_CTX_new();
        if (!p->hash || EVP_DigestInit_ex(p->hash, EVP_sha256(), NULL) != 1)
                abort();
        *ret = p;
        return 0;
}

struct save_plain *save_plain_free(struct save_plain *p) {
        if (!p)
                return NULL;
        (void) fd_close(p->fd);
        (void) inflate_free(p->inflate);
        EVP_MD_CTX_free(p->hash);
        free(p->buffer);
        free(p);
        return NULL;
}

static int write_some(const struct saver *s, struct save_plain *p, size_t len, struct err *err) {
        int r;

        p->size += len;
        if (p->size > s->env->max_layer_bytes)
                return err_set(err, ERR_EXHAUSTED, "it has more than %llu bytes",
                               (unsigned long long) s->env->max_layer_bytes);
        if (EVP_DigestUpdate(p->hash, p->buffer, len) != 1)
                abort();
        r = fs_write_all(p->fd, p->buffer, len);
        return r < 0 ? err_sys(err, -r, "write it to the disk, decompressed") : save_check_cancelled(s, err);
}

int save_plain_write(struct saver *s, struct save_plain *p, const void *data, size_t len, struct err *err) {
        struct inflate_in in = { data, len };
        struct inflate_out out;
        int r;

        do {
                out = (struct inflate_out){ p->buffer, SAVE_BUFFER_BYTES };
                r = inflate_run(p->inflate, &in, &out, err);
                if (r == 0)
                        r = write_some(s, p, SAVE_BUFFER_BYTES - out.len, err);
        } while (r == 0 && (in.len || out.len == 0));
        return r;
}

static int check(struct save_plain *p, const char *diff_id, struct err *err) {
        unsigned char md[EVP_MAX_MD_SIZE];
        char hex[2 * EVP_MAX_MD_SIZE + 1];
        unsigned len = 0;
        int r = inflate_end(p->inflate, err);

        if (r < 0)
                return r;
        if (EVP_DigestFinal_ex(p->hash, md, &len) != 1)
                abort();
        hex_encode(md, len, hex);
        return str_eq(hex, diff_id + strlen("sha256:"))
                       ? 0
                       : err_set(err, ERR_DATA_LOSS, "decompressed its digest is sha256:%s, not %s", hex, diff_id);
}

int save_plain_end(struct saver *s, struct save_plain *p, const char *name, const char *diff_id, struct err *err) {
        int r = check(p, diff_id, err);

        if (r == 0)
                r = save_begin(s, name, p->size, err);
        for (uint64_t at = 0; r == 0 && at < p->size;) {
                size_t want = (size_t) MIN_OF((uint64_t) SAVE_BUFFER_BYTES, p->size - at);
                ssize_t n = pread(p->fd, p->buffer, want, (off_t) at);

                if (n <= 0)
                        return err_sys(err, n < 0 ? errno : EIO, "read it, decompressed");
                r = save_check_cancelled(s, err);
                if (r == 0)
                        r = save_put(s, p->buffer, (size_t) n, err);
                at += (uint64_t) n;
        }
        return r == 0 ? save_end(s, p->size, err) : r;
}

const char *save_docker_layer_name(struct saver *s, const char *diff_id) {
        return arena_printf(s->arena, "%s.tar", diff_id + strlen("sha256:"));
}

const char *save_docker_config_name(struct saver *s, const char *id) {
        return arena_printf(s->arena, "%s.json", id + strlen("sha256:"));
}

int save_docker_manifest(struct saver *s, struct err *err) {
        json_t *list = json_array();
        const char *text;

        for (size_t i = 0; i < s->n_images; i++) {
                const struct saved *image = &s->images[i];
                json_t *layers = json_array();

                for (size_t k = 0; k < image->local.manifest.n_layers; k++)
                        (void) json_array_append_new(layers,
                                                     json_string(save_docker_layer_name(s, image->diff_ids[k])));
                (void) json_array_append_new(list, json_pack("{s:s s:o s:o}", "Config",
                                                             save_docker_config_name(s, image->image->id), "RepoTags",
                                                             json_from_strings(image->names), "Layers", layers));
        }
        text = json_to_text(list, s->arena);
        return save_put_small(s, "manifest.json", text, strlen(text), err);
}
