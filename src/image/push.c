/* SPDX-License-Identifier: Apache-2.0 */
#include "image/push.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/local.h"
#include "image/referrers.h"
#include "image/relay.h"
#include "image/send.h"

enum { PARSE_ARENA = 64 << 20 };

struct push {
        const struct push_env *env;
        const struct image_push_args *args;
        struct arena *arena;
        struct image *image;
        const char **held; /* its blobs, which stay as long as this */
        struct local_manifest local;
        struct ref to_ref, origin_ref;
        struct credentials *to_creds, *origin_creds;
        struct source *to, *origin; /* @origin NULL: there is none */
};

/* --- the image as it is here ------------------------------------------------------------------------------------ */

static int load(struct push *p, struct err *err) {
        int r = records_get(p->env->records, p->args->image, p->arena, &p->image, err);

        if (r == 0)
                r = records_hold_blobs(p->env->records, p->image->id, p->arena, &p->held, err);
        return r == 0 ? local_manifest(p->env->content, p->image->id, p->held, p->arena, &p->local, err) : r;
}

/* --- where it goes and comes from ------------------------------------------------------------------------------- */

static bool parse_origin(struct push *p, const char *name, struct ref *ret) {
        struct err ignored;

        return name && ref_parse(name, p->arena, ret, &ignored) == 0;
}

/* A repository of the destination's registry, other than the destination, that the image is from: blobs can be mounted.
 */
static const char *mount_from(struct push *p) {
        for (const char **name = p->image->repo_digests; *name; name++) {
                struct ref ref;

                if (parse_origin(p, *name, &ref) && registry_is_same(ref.host, p->to_ref.host) &&
                    !str_eq(ref.path, p->to_ref.path))
                        return ref.path;
        }
        return NULL;
}

static int open_sources(struct push *p, const char *mount, struct err *err) {
        const struct image_push_args *args = p->args;
        struct source_args to = { .ref = &p->to_ref,
                                  .cancel_fd = args->cancel_fd,
                                  .deadline_ns = args->deadline_ns,
                                  .push = true,
                                  .mount_from = mount,
                                  .no_mirrors = true };
        struct source_args origin = { .ref = &p->origin_ref,
                                      .cancel_fd = args->cancel_fd,
                                      .deadline_ns = args->deadline_ns };
        int r = credentials_new(args->auth, &p->to_creds, err);

        if (r == 0)
                r = credentials_new(args->origin_auth, &p->origin_creds, err);
        if (r < 0)
                return r;
        to.creds = p->to_creds;
        origin.creds = p->origin_creds;
        p->to = source_new(p->env->registries, &to);
        if (parse_origin(p, args->origin ?: p->image->repo_digests[0], &p->origin_ref))
                p->origin = source_new(p->env->registries, &origin);
        return 0;
}

/* --- blobs ------------------------------------------------------------------------------------------------------ */

/* A kept blob. */
struct kept {
        int fd;
        uint64_t at;
};

static int kept_seek(uint64_t offset, void *userdata, struct err *err) {
        struct kept *k = userdata;

        k->at = offset;
        return 0;
}

static int kept_read(void *data, size_t size, size_t *ret_len, void *userdata, struct err *err) {
        struct kept *k = userdata;
        ssize_t n = pread(k->fd, data, size, (off_t) k->at);

        if (n < 0)
                return err_sys(err, errno, "read the kept blob");
        if (n == 0)
                return err_set(err, ERR_DATA_LOSS, "the kept blob has become shorter");
        *ret_len = (size_t) n;
        k->at += (uint64_t) n;
        return 0;
}

static int open_blob(const struct send_blob *blob, struct blob_reader *ret, void *userdata, struct err *err) {
        struct push *p = userdata;
        struct kept *k;
        struct err ignored;
        int fd;

        if (content_open(p->env->content, blob->digest, blob->size, &fd, &ignored) == 0) {
                k = xnew(struct kept);
                k->fd = fd;
                *ret = (struct blob_reader){ .seek = kept_seek, .read = kept_read, .userdata = k };
                return 0;
        }
        if (!p->origin)
                return err_set(err, ERR_PRECONDITION,
                               "it is not kept here, and the image has no registry to get it from; pull it by name");
        *ret = (struct blob_reader){ .seek = relay_seek,
                                     .read = relay_read,
                                     .userdata = relay_new(p->origin, blob->digest, blob->size) };
        return 0;
}

static void close_blob(struct blob_reader *reader) {
        struct kept *k = reader->userdata;

        if (reader->seek == relay_seek) {
                (void) relay_free(reader->userdata);
                return;
        }
        (void) fd_close(k->fd);
        free(k);
}

/* A kept blob is a cache, which a crash of the machine may have damaged: then it goes, and comes from elsewhere. */
static bool is_other_to_be_had(const struct send_blob *blob, const struct blob_reader *reader, void *userdata) {
        struct push *p = userdata;
        struct err ignored;

        return reader->seek == kept_seek && p->origin && content_remove(p->env->content, blob->digest, &ignored) == 0;
}

/* Each once. */
static size_t list_blobs(const struct push *p, struct send_blob *ret) {
        size_t n = 0;

        ret[n++] = (struct send_blob){ p->local.manifest.config.digest, p->local.manifest.config.size };
        for (size_t i = 0; i < p->local.manifest.n_layers; i++) {
                const struct descriptor *d = &p->local.manifest.layers[i];
                size_t same = 0;

                while (same < n && !str_eq(ret[same].digest, d->digest))
                        same++;
                if (same == n)
                        ret[n++] = (struct send_blob){ d->digest, d->size };
        }
        return n;
}

/* --- all -------------------------------------------------------------------------------------------------------- */

static int send(struct push *p, const char *mount, const char **ret_digest, struct err *err) {
        struct send_blob *blobs = arena_array(p->arena, struct send_blob, p->local.manifest.n_layers + 1);
        const struct send_args sending = { .to = p->to,
                                           .blobs = blobs,
                                           .n = list_blobs(p, blobs),
                                           .mount_from = mount,
                                           .max_parallel = p->env->max_parallel,
                                           .cancel_fd = p->args->cancel_fd,
                                           .open = open_blob,
                                           .close = close_blob,
                                           .damaged = is_other_to_be_had,
                                           .userdata = p,
                                           .progress = p->args->progress,
                                           .progress_userdata = p->args->userdata };
        struct upload_manifest put = { .reference = p->to_ref.digest ?: p->to_ref.tag,
                                       .data = p->local.raw,
                                       .len = p->local.len,
                                       .media_type = p->local.manifest.media_type };
        char digest[DIGEST_LEN + 1];
        int r;

        digest_of(put.data, put.len, digest);
        if (p->to_ref.digest && !str_eq(p->to_ref.digest, digest))
                return err_set(err, ERR_INVALID, "its manifest is %s; the destination names another digest", digest);
        r = send_blobs(&sending, err);
        if (r == 0)
                r = referrers_put(p->to, &put, err);
        if (r == 0)
                *ret_digest = arena_strdup(p->arena, digest);
        return r;
}

int push_run(const struct push_env *env, const struct image_push_args *args, struct arena *arena,
             const char **ret_digest, struct err *err) {
        _cleanup_(arena_freep) struct arena *own = arena_new(PARSE_ARENA);
        struct push p = { .env = env, .args = args, .arena = own };
        const char *mount, *digest = NULL, *name = args->to;
        int r = ref_parse(args->to, own, &p.to_ref, err);

        if (r == 0) {
                name = ref_string(&p.to_ref, own);
                r = load(&p, err);
        }
        if (r == 0) {
                mount = mount_from(&p);
                r = open_sources(&p, mount, err);
                if (r == 0)
                        r = send(&p, mount, &digest, err);
        }
        if (r == 0)
                *ret_digest = arena_strdup(arena, digest);
        for (const char **d = p.held; d && *d; d++)
                records_release_blob(env->records, *d);
        (void) source_free(p.to);
        (void) source_free(p.origin);
        (void) credentials_free(p.to_creds);
        (void) credentials_free(p.origin_creds);
        return r < 0 ? err_wrap(err, "push %.300s to %.300s", args->image, name) : 0;
}
