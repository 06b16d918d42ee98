/* SPDX-License-Identifier: Apache-2.0 */
/* Images as an OCI image layout, in an archive or a folder, or as Docker's archive: manifests, configs and layers byte
 * for byte as they came from their registry, so digests stay what they are. Layers' blobs come from what is kept, else
 * from where the image came from; each is hashed on its way. index.json is written last into a folder: without it, it
 * is no layout. */
#include "image/save-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "image/tar-write.h"

enum { SAVE_IMAGES_MAX = 256, SAVE_ARENA_MAX = 64 << 20, TAR_RECORD_BYTES = 10240, REPORT_MS = 100 };

int save_check_cancelled(const struct saver *s, struct err *err) {
        struct pollfd p = { .fd = s->args->cancel_fd, .events = POLLIN };

        return poll(&p, 1, 0) > 0 ? err_set(err, ERR_CANCELLED, "cancelled") : 0;
}

static void report(struct saver *s, int state) {
        const struct image_progress p = {
                .digest = s->blob->digest, .total_bytes = s->blob->size, .done_bytes = s->done_bytes, .state = state
        };

        s->reported_ns = clock_monotonic_ns();
        if (s->args->progress)
                s->args->progress(&p, s->layer, s->n_layers, s->args->userdata);
}

/* --- members ------------------------------------------------------------------------------------------------------ */

/* Waits until a pipe takes so many bytes at once: it is not ours to make it non-blocking, others have it, too. */
static int wait_for_pipe(struct saver *s, size_t *len, struct err *err) {
        struct pollfd p[2] = { { .fd = s->fd, .events = POLLOUT }, { .fd = s->args->cancel_fd, .events = POLLIN } };

        *len = MIN_OF(*len, (size_t) PIPE_BUF);
        while (poll(p, 2, -1) < 0)
                if (errno != EINTR)
                        return err_sys(err, errno, "wait for a pipe");
        return p[1].revents ? err_set(err, ERR_CANCELLED, "cancelled") : 0;
}

int save_put(struct saver *s, const void *data, size_t len, struct err *err) {
        const char *at = data;

        while (len > 0) {
                size_t now = len;
                int r = s->is_file ? 0 : wait_for_pipe(s, &now, err);
                ssize_t n;

                if (r < 0)
                        return r;
                n = write(s->fd, at, now);
                if (n < 0 && errno != EINTR && errno != EAGAIN)
                        return err_sys(err, errno, "write");
                if (n > 0) {
                        at += n;
                        len -= (size_t) n;
                        s->written += (uint64_t) n;
                }
        }
        return 0;
}

int save_begin(struct saver *s, const char *name, uint64_t size, struct err *err) {
        uint8_t header[TAR_BLOCK_BYTES];

        if (s->args->format != IMAGE_SAVE_FOLDER) {
                s->fd = s->args->fd;
                tar_write_header(name, size, header);
                return save_put(s, header, sizeof(header), err);
        }
        s->fd = openat(s->args->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        return s->fd < 0 ? err_sys(err, errno, "create %s", name) : 0;
}

int save_end(struct saver *s, uint64_t size, struct err *err) {
        static const uint8_t zeros[TAR_BLOCK_BYTES];

        if (s->args->format != IMAGE_SAVE_FOLDER)
                return save_put(s, zeros, tar_write_padding(size), err);
        s->fd = fd_close(s->fd);
        return 0;
}

int save_put_small(struct saver *s, const char *name, const void *data, size_t len, struct err *err) {
        int r = save_begin(s, name, len, err);

        if (r == 0)
                r = save_put(s, data, len, err);
        return r == 0 ? save_end(s, len, err) : r;
}

static const char *blob_name(struct saver *s, const char *digest) {
        return arena_printf(s->arena, "blobs/sha256/%s", digest + strlen("sha256:"));
}

/* False: it is there already, as of another image. */
static bool is_new(struct saver *s, const char *digest) {
        if (map_get(s->done, digest))
                return false;
        (void) map_set(s->done, digest, s);
        return true;
}

/* --- layers ------------------------------------------------------------------------------------------------------- */

static int put_layer_bytes(const void *data, size_t len, void *userdata, struct err *err) {
        struct saver *s = userdata;
        int r = save_check_cancelled(s, err);

        if (r == 0 && len > s->blob->size - s->done_bytes)
                r = err_set(err, ERR_DATA_LOSS, "it has more bytes than its manifest says");
        if (r == 0)
                r = s->plain ? save_plain_write(s, s->plain, data, len, err) : save_put(s, data, len, err);
        if (r < 0)
                return r;
        (void) EVP_DigestUpdate(s->hash, data, len);
        s->done_bytes += len;
        if (clock_monotonic_ns() - s->reported_ns >= REPORT_MS * UINT64_C(1000000))
                report(s, LAYER_UPLOADING);
        return 0;
}

static int put_kept(struct saver *s, int fd, struct err *err) {
        for (;;) {
                ssize_t n = read(fd, s->buffer, SAVE_BUFFER_BYTES);
                int r;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? err_sys(err, errno, "read it") : 0;
                r = put_layer_bytes(s->buffer, (size_t) n, s, err);
                if (r < 0)
                        return r;
        }
}

/* The first of its repositories that has it: once bytes have come, it has to be that one. */
static int put_fetched(struct saver *s, const struct saved *image, struct err *err) {
        const struct blob_sink sink = { .write = put_layer_bytes, .userdata = s };
        int r = -ERR_NOT_FOUND;

        for (const char *const *name = image->image->repo_digests; *name && r < 0 && s->done_bytes == 0; name++) {
                _cleanup_(credentials_freep) struct credentials *creds = NULL;
                _cleanup_(source_freep) struct source *source = NULL;
                struct ref ref;

                r = ref_parse(*name, s->arena, &ref, err);
                if (r == 0)
                        r = credentials_new(NULL, &creds, err);
                if (r < 0)
                        return r;
                source = source_new(s->env->registries, &(struct source_args){ .ref = &ref,
                                                                               .creds = creds,
                                                                               .cancel_fd = s->args->cancel_fd,
                                                                               .deadline_ns = s->args->deadline_ns });
                r = source_get_blob(source, s->blob->digest, s->blob->size, &sink, false, err);
        }
        if (!*image->image->repo_digests)
                return err_set(err, ERR_PRECONDITION,
                               "its bytes are not kept here, and no registry is known that has "
                               "them");
        return r < 0 ? err_wrap(err, "its bytes are not kept here: fetch them") : 0;
}

static int check_layer(struct saver *s, bool is_kept, struct err *err) {
        unsigned char md[EVP_MAX_MD_SIZE];
        char hex[2 * 32 + 1];
        unsigned n = 0;

        if (EVP_DigestFinal_ex(s->hash, md, &n) != 1 || n != 32)
                return err_set(err, ERR_INTERNAL, "sha256");
        hex_encode(md, n, hex);
        if (s->done_bytes == s->blob->size && str_eq(hex, s->blob->digest + strlen("sha256:")))
                return 0;
        if (is_kept)
                return err_set(err, ERR_DATA_LOSS, "its bytes here are damaged: pull the image again");
        return err_set(err, ERR_DATA_LOSS, "its bytes are not kept here: fetched was sha256:%s instead", hex);
}

/* Its bytes, checked. */
static int put_layer_from_somewhere(struct saver *s, const struct saved *image, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        int r;

        if (EVP_DigestInit_ex(s->hash, EVP_sha256(), NULL) != 1)
                return err_set(err, ERR_INTERNAL, "sha256");
        r = content_open(s->env->content, s->blob->digest, s->blob->size, &fd, err);
        if (r == 0)
                r = put_kept(s, fd, err);
        else if (r == -ERR_NOT_FOUND)
                r = put_fetched(s, image, err);
        return r == 0 ? check_layer(s, fd >= 0, err) : r;
}

static int put_layer(struct saver *s, const struct saved *image, size_t i, struct err *err) {
        const struct descriptor *blob = &image->local.manifest.layers[i];
        const char *diff_id = image->diff_ids ? image->diff_ids[i] : NULL;
        const char *name = diff_id ? save_docker_layer_name(s, diff_id) : blob_name(s, blob->digest);
        int r = 0;

        if (!is_new(s, diff_id ?: blob->digest))
                return 0;
        s->blob = blob;
        s->done_bytes = 0;
        report(s, LAYER_UPLOADING);
        if (diff_id)
                r = save_plain_new(s, blob, &s->plain, err);
        if (r == 0 && !s->plain)
                r = save_begin(s, name, blob->size, err);
        if (r == 0)
                r = put_layer_from_somewhere(s, image, err);
        if (r == 0)
                r = s->plain ? save_plain_end(s, s->plain, name, diff_id, err) : save_end(s, blob->size, err);
        s->plain = save_plain_free(s->plain);
        if (r == 0)
                report(s, LAYER_DONE);
        return r < 0 ? err_wrap(err, "layer %s", blob->digest) : 0;
}

/* --- what is saved ------------------------------------------------------------------------------------------------ */

static int find_diff_ids(struct saver *s, struct saved *image, const char *config, size_t len, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new((size_t) 16 << 20);
        size_t n = image->local.manifest.n_layers;
        struct image_config c;
        int r = config_parse(config, len, arena, &c, err);

        if (r == 0 && c.n_diff_ids != n)
                r = err_set(err, ERR_DATA_LOSS, "config and manifest don't fit");
        if (r < 0)
                return r;
        image->diff_ids = arena_array(s->arena, const char *, n + 1);
        for (size_t i = 0; i < n; i++)
                image->diff_ids[i] = arena_strdup(s->arena, c.diff_ids[i]);
        return 0;
}

/* Its manifest, of all that it is known by the first: all have the same config. */
static int put_image(struct saver *s, struct saved *image, struct err *err) {
        const bool is_docker = s->args->format == IMAGE_SAVE_DOCKER;
        const struct descriptor *config = &image->local.manifest.config;
        _cleanup_(freep) char *data = NULL;
        size_t len;
        int r = 0;

        if (!content_read(s->env->content, config->digest, CONFIG_BYTES_MAX, &data, &len))
                return err_set(err, ERR_DATA_LOSS, "its config is damaged: pull the image again");
        if (is_docker)
                r = find_diff_ids(s, image, data, len, err);
        for (size_t i = 0; r == 0 && i < image->local.manifest.n_layers; i++, s->layer++)
                r = put_layer(s, image, i, err);
        if (r == 0 && is_new(s, config->digest))
                r = save_put_small(
                        s, is_docker ? save_docker_config_name(s, config->digest) : blob_name(s, config->digest), data,
                        len, err);
        if (r == 0 && !is_docker && is_new(s, image->local.digest))
                r = save_put_small(s, blob_name(s, image->local.digest), image->local.raw, image->local.len, err);
        return r;
}

/* Docker's manifests don't all say what they are; then they are Docker's. */
static const char *type_of(const struct saved *image, struct arena *arena) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        struct err ignored;
        const char *type;

        if (json_parse(image->local.raw, image->local.len, "manifest", &o, &ignored) == 0 &&
            json_get_string(o, "mediaType", arena, &type, &ignored) == 0 && *type)
                return type;
        return "application/vnd.oci.image.manifest.v1+json";
}

static void add_to_index(struct saver *s, json_t *list, const struct saved *image, const char *name) {
        json_t *d = json_pack("{s:s s:s s:I}", "mediaType", type_of(image, s->arena), "digest", image->local.digest,
                              "size", (json_int_t) image->local.len);

        if (!d)
                abort();
        if (name)
                (void) json_object_set_new(d, "annotations",
                                           json_pack("{s:s}", "org.opencontainers.image.ref.name", name));
        (void) json_array_append_new(list, d);
}

/* Each of its names by itself, as Podman has it: what "load" takes it under. */
static int put_index(struct saver *s, struct err *err) {
        json_t *list = json_array(), *o = json_pack("{s:i s:o}", "schemaVersion", 2, "manifests", list);
        const char *text;

        if (!o)
                abort();
        for (size_t i = 0; i < s->n_images; i++) {
                const char **names = s->images[i].names;

                if (!*names)
                        add_to_index(s, list, &s->images[i], NULL);
                for (; *names; names++)
                        add_to_index(s, list, &s->images[i], *names);
        }
        text = json_to_text(o, s->arena);
        return save_put_small(s, "index.json", text, strlen(text), err);
}

static int put_all(struct saver *s, struct err *err) {
        static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
        static const uint8_t zeros[TAR_RECORD_BYTES];
        int r = 0;

        if (s->args->format == IMAGE_SAVE_FOLDER) {
                s->own_blobs = mkdirat(s->args->fd, "blobs", 0755) == 0;
                if (!s->own_blobs || mkdirat(s->args->fd, "blobs/sha256", 0755) < 0)
                        return err_sys(err, errno, "create blobs/sha256");
        }
        if (s->args->format != IMAGE_SAVE_DOCKER)
                r = save_put_small(s, "oci-layout", layout, strlen(layout), err);
        for (size_t i = 0; r == 0 && i < s->n_images; i++) {
                r = put_image(s, &s->images[i], err);
                if (r < 0)
                        return err_wrap(err, "image %s", s->images[i].asked);
        }
        if (r == 0)
                r = s->args->format == IMAGE_SAVE_DOCKER ? save_docker_manifest(s, err) : put_index(s, err);
        if (r == 0 && s->args->format != IMAGE_SAVE_FOLDER) { /* two empty blocks or more, to a whole record */
                r = save_put(s, zeros, (size_t) 2 * TAR_BLOCK_BYTES, err);
                if (r == 0 && s->written % TAR_RECORD_BYTES != 0)
                        r = save_put(s, zeros, TAR_RECORD_BYTES - (size_t) (s->written % TAR_RECORD_BYTES), err);
        }
        return r;
}

/* What half a layout has. It had an empty folder. */
static void empty_folder(struct saver *s) {
        static const char *const names[] = { "index.json", "oci-layout", "blobs" };
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (fs_remove_tree(s->args->fd, names[i], &err) < 0)
                        log_warn("half of a saved image stays behind", "name", names[i], "error", err.msg, NULL);
}

/* --- which images ------------------------------------------------------------------------------------------------- */

static struct saved *find(struct saver *s, const char *id) {
        for (size_t i = 0; i < s->n_images; i++)
                if (str_eq(s->images[i].image->id, id))
                        return &s->images[i];
        return NULL;
}

static void add_name(struct saved *image, const char *name) {
        size_t n = 0;

        for (; image->names[n]; n++)
                if (str_eq(image->names[n], name))
                        return;
        image->names[n] = name;
}

/* With the tag by which it was asked for: who takes it elsewhere has others, perhaps of something else. By its id all
 * of them are meant. */
static void name_it(struct saver *s, struct saved *image, const char *asked) {
        const char *tag = local_tag(image->image, asked, s->arena);

        if (!image->names)
                image->names = arena_array(s->arena, const char *, strv_len(image->image->repo_tags) + 1);
        if (tag)
                add_name(image, tag);
        for (const char **name = image->image->repo_tags; !tag && *name; name++)
                add_name(image, *name);
}

static int hold_one(struct saver *s, struct image *image, const char *asked, struct err *err) {
        struct saved *saved = &s->images[s->n_images];
        int r = records_hold_blobs(s->env->records, image->id, s->arena, &saved->blobs, err);

        if (r < 0)
                return r;
        s->n_images++; /* it is let go of again */
        saved->image = image;
        saved->asked = asked;
        name_it(s, saved, asked);
        r = local_manifest(s->env->content, image->id, saved->blobs, s->arena, &saved->local, err);
        s->n_layers += saved->local.manifest.n_layers;
        return r < 0 ? err_wrap(err, "image %s", asked) : 0;
}

static int hold_all(struct saver *s, struct err *err) {
        int r = 0;

        for (const char *const *name = s->args->images; r == 0 && *name; name++) {
                struct saved *before;
                struct image *image;

                if (s->n_images == SAVE_IMAGES_MAX)
                        return err_set(err, ERR_EXHAUSTED, "more than %d images at once", SAVE_IMAGES_MAX);
                if (arena_used(s->arena) > SAVE_ARENA_MAX / 2)
                        return err_set(err, ERR_EXHAUSTED, "these are too many images with large manifests at once");
                r = records_get(s->env->records, *name, s->arena, &image, err);
                before = r == 0 ? find(s, image->id) : NULL;
                if (before)
                        name_it(s, before, *name);
                else if (r == 0)
                        r = hold_one(s, image, *name, err);
        }
        if (r == 0 && s->n_images == 0)
                r = err_set(err, ERR_INVALID, "no image named");
        return r;
}

int save_run(const struct pull_env *env, const struct image_save_args *args, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(SAVE_ARENA_MAX);
        struct saver s = { .env = env, .args = args, .arena = arena, .fd = -1 };
        struct stat st;
        int r;

        if (fstat(args->fd, &st) < 0)
                return err_sys(err, errno, "look at where to");
        s.is_file = !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode) && !S_ISCHR(st.st_mode);
        s.images = arena_array(arena, struct saved, SAVE_IMAGES_MAX);
        s.done = map_new();
        s.buffer = xcalloc(1, SAVE_BUFFER_BYTES);
        s.hash = EVP_MD_CTX_new();
        r = s.hash ? hold_all(&s, err) : err_set(err, ERR_INTERNAL, "sha256");
        if (r == 0)
                r = put_all(&s, err);
        if (args->format == IMAGE_SAVE_FOLDER)
                (void) fd_close(s.fd);
        if (r < 0 && s.own_blobs)
                empty_folder(&s);
        for (size_t i = 0; i < s.n_images; i++)
                for (const char *const *digest = s.images[i].blobs; *digest; digest++)
                        records_release_blob(env->records, *digest);
        EVP_MD_CTX_free(s.hash);
        free(s.buffer);
        (void) map_free(s.done);
        return r;
}
