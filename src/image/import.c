/* SPDX-License-Identifier: Apache-2.0 */
/* A folder is packed as it is walked, always in the same way, so the same files are the same layer. An archive is the
 * layer itself, decompressed and compressed again. It has to have an end mark: whoever is cut off has none. */
#include "image/import.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "image/adopt.h"
#include "image/config-edit.h"
#include "image/inflate.h"
#include "image/layer-pack.h"
#include "image/read-progress.h"
#include "image/tar-tree.h"
#include "image/tar-write.h"
#include "image/trust.h"
#include "image/unpack-path.h"

enum { BUFFER_BYTES = 256 * 1024, END_BYTES = 2 * TAR_BLOCK_BYTES, HELD_MAX = 3 };

struct import {
        const struct pull_env *env;
        const struct image_import_args *args;
        struct arena *arena;
        struct layer_pack *pack;
        struct inflate *inflate; /* NULL: not compressed, or a folder */
        struct read_progress read;
        uint64_t tar_bytes, max_bytes;
        const char **exclude;
        size_t zeros; /* at the end of what came by now, up to END_BYTES */
        uint8_t *buffer, *plain;
        const char *held[HELD_MAX];
        size_t n_held;
};

static void pass_on(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata) {
        const struct import *m = userdata;

        if (m->args->progress && p->state != LAYER_WAITING)
                m->args->progress(p, layer, n_layers, m->args->userdata);
}

static int check_going(struct import *m, struct err *err) {
        struct pollfd p = { .fd = m->args->cancel_fd, .events = POLLIN };

        return poll(&p, 1, 0) > 0 ? err_set(err, ERR_CANCELLED, "cancelled") : 0;
}

/* --- the layer ---------------------------------------------------------------------------------------------------- */

static void count_zeros(struct import *m, const uint8_t *data, size_t len) {
        size_t n = 0;

        while (n < len && n < END_BYTES && data[len - 1 - n] == 0)
                n++;
        m->zeros = n == len ? MIN_OF(m->zeros + n, (size_t) END_BYTES) : n;
}

static int take_tar(const void *data, size_t len, void *userdata, struct err *err) {
        struct import *m = userdata;
        int r = check_going(m, err);

        if (r == 0 && len > m->max_bytes - m->tar_bytes)
                r = err_set(err, ERR_EXHAUSTED, "it has more than %llu bytes", (unsigned long long) m->max_bytes);
        if (r < 0)
                return r;
        m->tar_bytes += len;
        count_zeros(m, data, len);
        read_progress_add(&m->read, m->inflate ? 0 : len);
        return layer_pack_write(data, len, m->pack, err);
}

static int take_compressed(struct import *m, const uint8_t *data, size_t len, struct err *err) {
        struct inflate_in in = { data, len };
        bool full;
        int r;

        read_progress_add(&m->read, len);
        do {
                struct inflate_out out = { m->plain, BUFFER_BYTES };

                r = inflate_run(m->inflate, &in, &out, err);
                if (r == 0 && out.data > m->plain)
                        r = take_tar(m->plain, (size_t) (out.data - m->plain), m, err);
                full = out.len == 0;
        } while (r == 0 && (in.len > 0 || full));
        return r;
}

/* 1: that is all. A pipe may have nothing for long: then the caller can still stop. */
static int read_some(struct import *m, size_t *ret_n, struct err *err) {
        struct pollfd p[2] = { { .fd = m->args->fd, .events = POLLIN },
                               { .fd = m->args->cancel_fd, .events = POLLIN } };

        for (;;) {
                ssize_t n;

                if (poll(p, 2, -1) < 0 && errno != EINTR)
                        return err_sys(err, errno, "wait for it");
                if (p[1].revents)
                        return err_set(err, ERR_CANCELLED, "cancelled");
                n = read(m->args->fd, m->buffer + *ret_n, BUFFER_BYTES - *ret_n);
                if (n < 0 && (errno == EINTR || errno == EAGAIN))
                        continue;
                if (n < 0)
                        return err_sys(err, errno, "read it");
                *ret_n += (size_t) n;
                return n == 0;
        }
}

/* Always as much as fits: how bytes are compressed depends on the pieces in which they come. */
static int fill_buffer(struct import *m, size_t *ret_n, struct err *err) {
        int r = 0;

        *ret_n = 0;
        while (r == 0 && *ret_n < BUFFER_BYTES)
                r = read_some(m, ret_n, err);
        return r;
}

static int take_archive(struct import *m, struct err *err) {
        enum inflate_kind kind;
        const char *foreign;
        int end, r = 0;
        size_t n;

        end = fill_buffer(m, &n, err);
        kind = inflate_kind_of_data(m->buffer, n, &foreign);
        if (end >= 0 && foreign)
                return inflate_refuse_foreign(foreign, err);
        if (kind != INFLATE_NONE)
                m->inflate = inflate_new(kind);
        while (end >= 0 && r == 0 && n > 0) {
                r = m->inflate ? take_compressed(m, m->buffer, n, err) : take_tar(m->buffer, n, m, err);
                n = 0;
                if (r == 0 && end == 0)
                        end = fill_buffer(m, &n, err);
        }
        if (end < 0)
                return end;
        if (r == 0 && m->inflate)
                r = inflate_end(m->inflate, err);
        if (r == 0 && m->zeros < END_BYTES)
                r = err_set(err, ERR_INVALID, "it is no tar archive, or is cut off: there is no end mark");
        return r;
}

static bool is_excluded(const char *path, void *userdata) {
        const struct import *m = userdata;

        for (const char **one = m->exclude; *one; one++)
                if (str_eq(path, *one))
                        return true;
        return false;
}

/* As they are met: "/a/./b/" is "a/b". */
static int clean_excluded(struct import *m, struct err *err) {
        const char *const *from = m->args->exclude;
        int r = 0;

        m->exclude = arena_array(m->arena, const char *, from ? strv_len(from) + 1 : 1);
        for (size_t i = 0; r == 0 && from && from[i]; i++) {
                char path[UNPACK_PATH_SIZE];

                r = unpack_path_clean(from[i], path, err);
                if (r == 0 && !*path)
                        r = err_set(err, ERR_INVALID, "nothing would be left");
                if (r < 0)
                        return err_wrap(err, "leave out \"%.200s\"", from[i]);
                m->exclude[i] = arena_strdup(m->arena, path);
        }
        return r;
}

static void tell_skipped(const char *path, const char *why, void *userdata) {
        (void) userdata;
        log_info("left out of an image that is made of a folder", "path", path, "why", why, NULL);
}

static int take_folder(struct import *m, struct err *err) {
        const struct tar_tree_args args = { .root_fd = m->args->fd,
                                            .kind = TAR_TREE_LAYER,
                                            .write = take_tar,
                                            .leave_out = is_excluded,
                                            .skipped = tell_skipped,
                                            .userdata = m };

        return tar_tree(&args, err);
}

static void hold(struct import *m, const char *digest) {
        records_hold_blob(m->env->records, digest);
        m->held[m->n_held++] = digest;
}

static int make_layer(struct import *m, struct packed_layer *ret, struct err *err) {
        struct stat st;
        int r = clean_excluded(m, err);

        if (r == 0 && fstat(m->args->fd, &st) < 0)
                r = err_sys(err, errno, "look at it");
        if (r == 0 && !S_ISDIR(st.st_mode) && m->exclude[0])
                r = err_set(err, ERR_INVALID, "files can be left out of a folder, not of an archive");
        if (r == 0)
                r = layer_pack_new(m->env->content, m->args->zstd, &m->pack, err);
        if (r == 0)
                r = S_ISDIR(st.st_mode) ? take_folder(m, err) : take_archive(m, err);
        if (r == 0)
                r = layer_pack_end(m->pack, ret, err);
        if (r < 0)
                return r;
        read_progress_tell(&m->read);
        hold(m, ret->digest);
        return layer_pack_commit(m->pack, err);
}

/* --- the image ---------------------------------------------------------------------------------------------------- */

static int put_document(struct import *m, const char *data, size_t len, const char **ret_digest, struct err *err) {
        char digest[DIGEST_LEN + 1];

        digest_of(data, len, digest);
        *ret_digest = arena_strdup(m->arena, digest);
        hold(m, *ret_digest);
        return content_put(m->env->content, *ret_digest, data, len, err);
}

static int make_documents(struct import *m, const struct packed_layer *layer, const char **ret_manifest,
                          struct err *err) {
        static const char manifest_text[] =
                "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{"
                "\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:"
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"size\":0},\"layers\":[]}";
        const char *base = arena_printf(m->arena,
                                        "{\"architecture\":\"%s\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":"
                                        "\"layers\",\"diff_ids\":[]},\"history\":[]}",
                                        platform_host()->arch);
        const struct config_edit config = { .changes = m->args->changes,
                                            .n_changes = m->args->n_changes,
                                            .now_ns = clock_realtime_ns(),
                                            .created_by = "proxmox-lxcri image from-rootfs",
                                            .comment = str_empty(m->args->comment) ? NULL : m->args->comment,
                                            .diff_id = layer->diff_id };
        const struct descriptor top = { .media_type = layer->media_type, .digest = layer->digest, .size = layer->size };
        struct manifest_edit manifest = { .changes = m->args->changes, .n_changes = m->args->n_changes, .layer = &top };
        const char *data;
        size_t len;
        int r = config_edit(base, strlen(base), &config, m->arena, &data, &len, err);

        if (r == 0)
                r = put_document(m, data, len, &manifest.config_digest, err);
        manifest.config_size = len;
        if (r == 0)
                r = manifest_edit(manifest_text, strlen(manifest_text), &manifest, m->arena, &data, &len, err);
        return r == 0 ? put_document(m, data, len, ret_manifest, err) : r;
}

int import_run(const struct pull_env *env, const struct image_import_args *args, struct arena *arena,
               const char **ret_id, struct err *err) {
        struct import m = { .env = env,
                            .args = args,
                            .arena = arena,
                            .read = { .what = "rootfs", .progress = args->progress, .userdata = args->userdata },
                            .max_bytes = env->max_layer_bytes };
        struct adopt_args adopt = {
                .names = args->names, .cancel_fd = args->cancel_fd, .progress = pass_on, .userdata = &m
        };
        struct packed_layer layer;
        int r;

        m.buffer = xcalloc(1, BUFFER_BYTES);
        m.plain = xcalloc(1, BUFFER_BYTES);
        r = trust_load(env->signature_policy, env->signature_policy_optional, "tarball", NULL, arena, err);
        if (r == 0)
                r = make_layer(&m, &layer, err);
        if (r == 0)
                r = make_documents(&m, &layer, &adopt.manifest, err);
        if (r == 0)
                r = adopt_run(env, &adopt, arena, ret_id, err);
        while (m.n_held > 0)
                records_release_blob(env->records, m.held[--m.n_held]);
        (void) layer_pack_free(m.pack);
        (void) inflate_free(m.inflate);
        free(m.buffer);
        free(m.plain);
        return r;
}
