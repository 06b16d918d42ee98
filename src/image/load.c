/* SPDX-License-Identifier: Apache-2.0 */
/* What an archive holds becomes blobs that are held, then adopt_run() makes images of them, one after the other. Of the
 * archive only the documents and layers that a wanted image names are read. An OCI layout's are taken byte for byte;
 * for Docker's a manifest is made, the same for the same archive, and layers stay as they lie in it. */
#include "image/load-internal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"
#include "image/adopt.h"
#include "image/trust.h"

enum { REPORT_MS = 100, BUSY_RETRY_MS = 100 };

/* --- progress ----------------------------------------------------------------------------------------------------- */

int load_check_cancelled(const struct load *l, struct err *err) {
        struct pollfd p = { .fd = l->args->cancel_fd, .events = POLLIN };

        return poll(&p, 1, 0) > 0 ? err_set(err, ERR_CANCELLED, "cancelled") : 0;
}

static void report(struct load *l, const char *digest, uint64_t size, uint64_t done, int state) {
        const struct image_progress p = { .digest = digest, .total_bytes = size, .done_bytes = done, .state = state };

        l->reported_ns = clock_monotonic_ns();
        if (l->args->progress)
                l->args->progress(&p, l->layer, l->n_layers, l->args->userdata);
}

static void pass_on(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata) {
        const struct load *l = userdata;

        (void) n_layers;
        if (l->args->progress && p->state != LAYER_WAITING)
                l->args->progress(p, l->base + layer, l->n_layers, l->args->userdata);
}

/* --- blobs -------------------------------------------------------------------------------------------------------- */

static bool is_here(const struct load *l, const char *digest) {
        return map_get(l->held, digest) != NULL;
}

static void hold(struct load *l, const char *digest) {
        records_hold_blob(l->env->records, digest);
        (void) map_set(l->held, digest, l);
}

int load_put_document(struct load *l, const char *digest, const char *data, size_t len, struct err *err) {
        if (is_here(l, digest))
                return 0;
        hold(l, digest);
        return content_put(l->env->content, digest, data, len, err);
}

/* A pull of the same blob, or another load, may be writing it: waits for its end, and writes it anew, since who writes
 * for a cache promises less. */
static int open_writer(struct load *l, const char *digest, uint64_t size, struct content_writer **ret,
                       struct err *err) {
        struct pollfd p = { .fd = l->args->cancel_fd, .events = POLLIN };
        uint64_t have;
        int r;

        while ((r = content_writer_new(l->env->content, digest, size, false, ret, &have, err)) == -ERR_EXISTS)
                if (poll(&p, 1, BUSY_RETRY_MS) > 0)
                        return err_set(err, ERR_CANCELLED, "cancelled");
        return r;
}

static int copy_layer(struct load *l, const struct archive_file *f, const char *digest, struct content_writer *w,
                      struct err *err) {
        for (uint64_t at = 0; at < f->size;) {
                size_t n = (size_t) MIN_OF((uint64_t) LOAD_BUFFER_BYTES, f->size - at);
                int r = load_check_cancelled(l, err);

                if (r == 0)
                        r = archive_pread(f, l->buffer, n, at, err);
                if (r == 0)
                        r = content_writer_write(w, l->buffer, n, err);
                if (r < 0)
                        return r;
                at += n;
                if (clock_monotonic_ns() - l->reported_ns >= REPORT_MS * UINT64_C(1000000))
                        report(l, digest, f->size, at, LAYER_COPYING);
        }
        return content_writer_commit(w, true, err);
}

int load_put_layer(struct load *l, const struct archive_file *f, const char *digest, struct err *err) {
        struct content_writer *w = NULL;
        int r = 0;

        report(l, digest, f->size, 0, LAYER_COPYING);
        if (!is_here(l, digest)) {
                hold(l, digest);
                r = open_writer(l, digest, f->size, &w, err);
                if (r == 0)
                        r = copy_layer(l, f, digest, w, err);
                (void) content_writer_free(w, false);
        }
        if (r == 0)
                report(l, digest, f->size, f->size, LAYER_COPYING);
        return r;
}

int load_check_layer_size(const struct load *l, const struct archive_file *f, struct err *err) {
        return f->size <= l->env->max_layer_bytes ? 0
                                                  : err_set(err, ERR_EXHAUSTED, "it has more than %llu bytes",
                                                            (unsigned long long) l->env->max_layer_bytes);
}

/* --- images ------------------------------------------------------------------------------------------------------- */

int load_add_image(struct load *l, const char *manifest, size_t n_layers, struct loading **ret, struct err *err) {
        for (size_t i = 0; i < l->n_images; i++)
                if (str_eq(l->images[i].manifest, manifest)) {
                        *ret = &l->images[i];
                        return 0;
                }
        if (l->n_images == LOAD_IMAGES_MAX)
                return err_set(err, ERR_EXHAUSTED, "it has more than %d images", LOAD_IMAGES_MAX);
        *ret = &l->images[l->n_images++];
        **ret = (struct loading){ .manifest = arena_strdup(l->arena, manifest),
                                  .names = arena_array(l->arena, const char *, LOAD_NAMES_MAX + 1),
                                  .n_layers = n_layers };
        return 0;
}

int load_add_name(struct load *l, struct loading *image, const char *name, struct err *err) {
        if (++l->n_names > LOAD_NAMES_MAX)
                return err_set(err, ERR_EXHAUSTED, "it has more than %d names", LOAD_NAMES_MAX);
        image->names[image->n_names++] = name;
        return 0;
}

int load_full_name(const char *name, struct arena *arena, const char **ret, struct err *err) {
        struct ref ref;
        int r = ref_parse(name, arena, &ref, err);

        if (r == 0 && ref.digest)
                r = err_set(err, ERR_INVALID, "\"%.300s\": a digest is no name to give", name);
        if (r == 0)
                *ret = ref_string(&ref, arena);
        return r;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

/* Where it lies, as the kernel has it; NULL for a pipe. */
static const char *path_of(int fd, struct arena *arena) {
        char link[40], path[PATH_MAX];
        ssize_t n;

        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof(path) - 1);
        if (n <= 0 || path[0] != '/')
                return NULL;
        return arena_strndup(arena, path, (size_t) n);
}

static int read_all(struct load *l, struct err *err) {
        _cleanup_(arena_freep) struct arena *policy = arena_new(POLICY_ARENA_MAX + PATH_MAX);
        bool is_oci = archive_has(l->archive, "index.json");
        const char *transport = !is_oci ? "docker-archive" : archive_is_folder(l->archive) ? "oci" : "oci-archive";
        int r;

        if (!is_oci && !archive_has(l->archive, "manifest.json"))
                return err_set(
                        err, ERR_INVALID,
                        "it is neither an OCI image layout nor what \"docker save\" writes: there is no index.json "
                        "and no manifest.json in it");
        r = trust_load(l->env->signature_policy, l->env->signature_policy_optional, transport,
                       path_of(l->args->fd, policy), policy, err);
        if (r < 0)
                return r;
        return is_oci ? load_oci(l, err) : load_docker(l, err);
}

/* Names that the caller gives: of one image alone. */
static int add_names(struct load *l, struct err *err) {
        int r = 0;

        if (l->args->names && l->args->names[0] && l->n_images > 1)
                return err_set(err, ERR_INVALID, "%zu images are in it: which one is to be called \"%.100s\"?",
                               l->n_images, l->args->names[0]);
        for (const char *const *name = l->args->names; r == 0 && name && *name; name++) {
                const char *full;

                r = load_full_name(*name, l->arena, &full, err);
                if (r == 0)
                        r = load_add_name(l, &l->images[0], full, err);
        }
        return r;
}

static int adopt_one(struct load *l, const struct loading *image, struct image_loaded *ret, struct err *err) {
        _cleanup_(arena_freep) struct arena *work = arena_new(PULL_ARENA_MAX);
        const struct adopt_args args = { .manifest = image->manifest,
                                         .names = image->names,
                                         .platform = &l->platform,
                                         .cancel_fd = l->args->cancel_fd,
                                         .progress = pass_on,
                                         .userdata = l };
        const char *id;
        int r = adopt_run(l->env, &args, work, &id, err);

        if (r == 0)
                *ret = (struct image_loaded){ .id = arena_strdup(l->arena, id),
                                              .digest = image->manifest,
                                              .names = image->names };
        return r;
}

static int adopt_all(struct load *l, struct image_loaded **ret, size_t *ret_n, struct err *err) {
        struct image_loaded *list = arena_array(l->arena, struct image_loaded, l->n_images + 1);

        *ret = list;
        for (size_t i = 0; i < l->n_images; i++) {
                const struct loading *image = &l->images[i];

                if (adopt_one(l, image, &list[i], err) < 0)
                        return err_wrap(err, "image %zu of %zu, %s", i + 1, l->n_images,
                                        image->n_names ? image->names[0] : image->manifest);
                l->base += image->n_layers;
                ++*ret_n;
        }
        return 0;
}

int load_run(const struct pull_env *env, const struct image_load_args *args, struct arena *arena,
             struct image_loaded **ret, size_t *ret_n, struct err *err) {
        struct load l = { .env = env, .args = args, .arena = arena, .platform = *platform_host() };
        const struct archive_args archive = { .fd = args->fd,
                                              .spool_dirfd = content_dirfd(env->content),
                                              .content = env->content,
                                              .max_bytes = env->max_layer_bytes,
                                              .cancel_fd = args->cancel_fd };
        const char *digest;
        void *value;
        int r = args->platform ? platform_parse(args->platform, arena, &l.platform, err) : 0;

        *ret_n = 0;
        if (r < 0)
                return r;
        l.held = map_new();
        l.images = arena_array(arena, struct loading, LOAD_IMAGES_MAX);
        l.buffer = xcalloc(1, LOAD_BUFFER_BYTES);
        r = archive_open(&archive, &l.archive, err);
        if (r == 0)
                r = read_all(&l, err);
        if (r == 0)
                r = add_names(&l, err);
        if (r == 0)
                r = adopt_all(&l, ret, ret_n, err);
        for (size_t it = 0; map_next(l.held, &it, &digest, &value);)
                records_release_blob(env->records, digest);
        (void) archive_free(l.archive);
        (void) map_free(l.held);
        free(l.buffer);
        return r;
}
