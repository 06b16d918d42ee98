/* SPDX-License-Identifier: Apache-2.0 */
/* A pull, push or copy runs in a thread of its own, so that the handler's can tell the client how it goes: a client
 * that reads slowly must not slow it down, so progress is sent from a snapshot and what came between two sends is left
 * out. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "base/thread.h"
#include "cri/admin.h"
#include "proto/admin.pb-c.h"

enum {
        LAYERS_MAX = 1024,
        DIGEST_MAX = 160,
        SEND_EVERY_MS = 100,
        SAVED_MAX = 256,
        ARTIFACT_FILES_MAX = 500,
        CHANGES_MAX = 1024
};

struct layer {
        char digest[DIGEST_MAX];
        uint64_t total_bytes, done_bytes;
        int state;
};

struct transfer {
        /* Does the work, on the thread; sets image_id or digest. */
        int (*run)(struct transfer *t, struct err *err);
        struct admin *admin;
        const ProtobufCMessage *request;
        uint64_t deadline_ns;
        const int *fds; /* taken from the process that asks, borrowed; of a save or load one */
        int cancel_fd;  /* eventfds */
        int done_fd;
        pthread_mutex_t lock; /* for what follows */
        struct layer *layers;
        size_t n_layers;
        bool changed;
        int result; /* of run(), when done */
        struct arena *arena;
        const char *image_id, *digest;
        struct image_loaded *loaded;
        size_t n_loaded;
        struct err err;
};

static void ring(int fd) {
        uint64_t one = 1;

        while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
                ;
}

/* The states have the same numbers. */
_Static_assert((int) LAYER_UNPACKING == (int) PROXMOXLXCRI__V1__LAYER_STATE__LAYER_UNPACKING, "states of layers");

static void note_progress(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata) {
        struct transfer *t = userdata;

        if (n_layers > LAYERS_MAX || layer >= n_layers)
                return;
        (void) pthread_mutex_lock(&t->lock);
        if (n_layers > t->n_layers) {
                t->layers = xrealloc(t->layers, n_layers, sizeof(*t->layers));
                memset(t->layers + t->n_layers, 0, (n_layers - t->n_layers) * sizeof(*t->layers));
                t->n_layers = n_layers;
        }
        (void) snprintf(t->layers[layer].digest, DIGEST_MAX, "%s", p->digest ? p->digest : "");
        t->layers[layer].total_bytes = p->total_bytes;
        t->layers[layer].done_bytes = p->done_bytes;
        t->layers[layer].state = (int) p->state;
        t->changed = true;
        (void) pthread_mutex_unlock(&t->lock);
}

static void *run_transfer(void *userdata) {
        struct transfer *t = userdata;

        t->result = t->run(t, &t->err);
        ring(t->done_fd);
        return NULL;
}

static void add_loaded(Proxmoxlxcri__V1__PullProgress *m, const struct transfer *t, struct arena *arena) {
        m->n_loaded = t->n_loaded;
        m->loaded = arena_array(arena, Proxmoxlxcri__V1__LoadedImage *, t->n_loaded);
        for (size_t i = 0; i < t->n_loaded; i++) {
                Proxmoxlxcri__V1__LoadedImage *image = m->loaded[i] =
                        arena_new_of(arena, Proxmoxlxcri__V1__LoadedImage);

                proxmoxlxcri__v1__loaded_image__init(image);
                image->id = (char *) (uintptr_t) t->loaded[i].id;
                image->digest = (char *) (uintptr_t) t->loaded[i].digest;
                image->names = (char **) (uintptr_t) t->loaded[i].names;
                image->n_names = strv_len(t->loaded[i].names);
        }
}

/* One message with the layers as they are now. */
static int send_progress(struct grpc_call *call, struct transfer *t, bool last, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
        Proxmoxlxcri__V1__PullProgress m = PROXMOXLXCRI__V1__PULL_PROGRESS__INIT;

        (void) pthread_mutex_lock(&t->lock);
        m.n_layers = t->n_layers;
        m.layers = arena_array(arena, Proxmoxlxcri__V1__LayerProgress *, t->n_layers);
        for (size_t i = 0; i < t->n_layers; i++) {
                Proxmoxlxcri__V1__LayerProgress *l = m.layers[i] = arena_new_of(arena, Proxmoxlxcri__V1__LayerProgress);

                proxmoxlxcri__v1__layer_progress__init(l);
                l->digest = arena_strdup(arena, t->layers[i].digest);
                l->total_bytes = t->layers[i].total_bytes;
                l->done_bytes = t->layers[i].done_bytes;
                l->state = (Proxmoxlxcri__V1__LayerState) t->layers[i].state;
        }
        t->changed = false;
        (void) pthread_mutex_unlock(&t->lock);
        if (last) {
                m.image_id = arena_strdup(arena, t->image_id ?: "");
                m.digest = arena_strdup(arena, t->digest ?: "");
                add_loaded(&m, t, arena);
        }
        return grpc_call_send(call, &m.base, err);
}

static bool has_changed(struct transfer *t) {
        bool changed;

        (void) pthread_mutex_lock(&t->lock);
        changed = t->changed;
        (void) pthread_mutex_unlock(&t->lock);
        return changed;
}

/* Until it has ended; a client that is gone cancels it. */
static void follow(struct grpc_call *call, struct transfer *t) {
        struct pollfd p[2] = { { .fd = t->done_fd, .events = POLLIN },
                               { .fd = grpc_call_cancel_fd(call), .events = POLLIN } };
        struct err ignored;

        for (;;) {
                (void) poll(p, 2, SEND_EVERY_MS);
                if (p[0].revents)
                        return;
                if (p[1].revents || (has_changed(t) && send_progress(call, t, false, &ignored) < 0)) {
                        ring(t->cancel_fd);
                        p[1].fd = -1; /* then only wait for its end */
                        p[1].revents = 0;
                        (void) poll(p, 1, -1);
                }
        }
}

/* @fds: of the process that asks, borrowed; may be NULL. */
static int transfer_with(struct grpc_call *call, const ProtobufCMessage *request, struct admin *admin,
                         int (*run)(struct transfer *t, struct err *err), const int *fds, struct err *err) {
        _cleanup_(fd_closep) int cancel = eventfd(0, EFD_CLOEXEC), done = eventfd(0, EFD_CLOEXEC);
        struct transfer t = { .run = run,
                              .admin = admin,
                              .request = request,
                              .fds = fds,
                              .deadline_ns = grpc_call_deadline_ns(call),
                              .lock = PTHREAD_MUTEX_INITIALIZER };
        pthread_t thread;
        int r;

        if (cancel < 0 || done < 0)
                return err_sys(err, errno, "eventfd");
        t.cancel_fd = cancel;
        t.done_fd = done;
        t.arena = arena_new(64 << 20);
        r = thread_start(0, run_transfer, &t, &thread);
        if (r != 0) {
                (void) arena_free(t.arena);
                return err_sys(err, r, "start a thread");
        }
        follow(call, &t);
        (void) pthread_join(thread, NULL);
        if (t.result == 0 || t.n_loaded > 0) /* what is there is told, even if more was wanted */
                r = send_progress(call, &t, true, err);
        if (t.result < 0) {
                *err = t.err;
                r = t.result;
        }
        free(t.layers);
        (void) arena_free(t.arena);
        (void) pthread_mutex_destroy(&t.lock);
        return r;
}

static int transfer(struct grpc_call *call, const ProtobufCMessage *request, struct admin *admin,
                    int (*run)(struct transfer *t, struct err *err), struct err *err) {
        return transfer_with(call, request, admin, run, NULL, err);
}

static int run_pull(struct transfer *t, struct err *err) {
        const Proxmoxlxcri__V1__PullRequest *req = (const Proxmoxlxcri__V1__PullRequest *) t->request;
        const struct image_auth auth = { .username = req->username,
                                         .password = req->password,
                                         .identity_token = req->identity_token,
                                         .registry_token = req->registry_token };
        const struct image_pull_args args = { .reference = req->reference,
                                              .auth = &auth,
                                              .cancel_fd = t->cancel_fd,
                                              .deadline_ns = t->deadline_ns,
                                              .progress = note_progress,
                                              .userdata = t };

        return images_pull(t->admin->images, &args, t->arena, &t->image_id, err);
}

int admin_pull_image(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__PullRequest *req = (const Proxmoxlxcri__V1__PullRequest *) request;

        if (str_empty(req->reference))
                return err_set(err, ERR_INVALID, "no image named");
        return transfer(call, request, userdata, run_pull, err);
}

static struct image_auth auth_of(const Proxmoxlxcri__V1__Credentials *c) {
        if (!c)
                return (struct image_auth){ 0 };
        return (struct image_auth){ .username = c->username,
                                    .password = c->password,
                                    .identity_token = c->identity_token,
                                    .registry_token = c->registry_token };
}

static int run_copy(struct transfer *t, struct err *err) {
        const Proxmoxlxcri__V1__CopyRequest *req = (const Proxmoxlxcri__V1__CopyRequest *) t->request;
        const struct image_auth from = auth_of(req->source_credentials), to = auth_of(req->destination_credentials);
        const struct image_copy_args args = { .from = req->source,
                                              .to = req->destination,
                                              .from_auth = &from,
                                              .to_auth = &to,
                                              .all = req->all,
                                              .cancel_fd = t->cancel_fd,
                                              .deadline_ns = t->deadline_ns,
                                              .progress = note_progress,
                                              .userdata = t };

        return images_copy(t->admin->images, &args, t->arena, &t->digest, err);
}

int admin_copy_image(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__CopyRequest *req = (const Proxmoxlxcri__V1__CopyRequest *) request;

        if (str_empty(req->source) || str_empty(req->destination))
                return err_set(err, ERR_INVALID, "source and destination are wanted");
        return transfer(call, request, userdata, run_copy, err);
}

static int run_push(struct transfer *t, struct err *err) {
        const Proxmoxlxcri__V1__PushRequest *req = (const Proxmoxlxcri__V1__PushRequest *) t->request;
        const struct image_auth auth = auth_of(req->credentials), origin = auth_of(req->origin_credentials);
        const struct image_push_args args = { .image = req->image,
                                              .to = req->destination,
                                              .auth = &auth,
                                              .origin = str_empty(req->origin) ? NULL : req->origin,
                                              .origin_auth = &origin,
                                              .cancel_fd = t->cancel_fd,
                                              .deadline_ns = t->deadline_ns,
                                              .progress = note_progress,
                                              .userdata = t };

        return images_push(t->admin->images, &args, t->arena, &t->digest, err);
}

int admin_push_image(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__PushRequest *req = (const Proxmoxlxcri__V1__PushRequest *) request;

        if (str_empty(req->image) || str_empty(req->destination))
                return err_set(err, ERR_INVALID, "an image and a destination are wanted");
        return transfer(call, request, userdata, run_push, err);
}

static int run_save(struct transfer *t, struct err *err) {
        const Proxmoxlxcri__V1__SaveImagesRequest *req = (const Proxmoxlxcri__V1__SaveImagesRequest *) t->request;
        const char **images = arena_array(t->arena, const char *, req->n_images + 1);
        const struct image_save_args args = { .images = images,
                                              .format = req->docker   ? IMAGE_SAVE_DOCKER
                                                        : req->folder ? IMAGE_SAVE_FOLDER
                                                                      : IMAGE_SAVE_ARCHIVE,
                                              .fd = t->fds[0],
                                              .cancel_fd = t->cancel_fd,
                                              .deadline_ns = t->deadline_ns,
                                              .progress = note_progress,
                                              .userdata = t };

        struct image *first;
        int r = images_get(t->admin->images, req->images[0], t->arena, &first, err);

        if (r < 0)
                return r;
        for (size_t i = 0; i < req->n_images; i++)
                images[i] = req->images[i];
        t->image_id = first->id;
        return images_save(t->admin->images, &args, err);
}

int admin_save_images(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__SaveImagesRequest *req = (const Proxmoxlxcri__V1__SaveImagesRequest *) request;
        _cleanup_(fd_closep) int fd = -1;
        int r;

        if (req->docker && req->folder)
                return err_set(err, ERR_INVALID, "what Docker saves is an archive, no folder");
        if (req->n_images == 0 || req->n_images > SAVED_MAX)
                return err_set(err, ERR_INVALID, "1 to %d images are wanted", SAVED_MAX);
        r = grpc_call_take_fd(call, req->descriptor, &fd, err);
        return r < 0 ? r : transfer_with(call, request, userdata, run_save, &fd, err);
}

static const struct image_change *changes_of(Proxmoxlxcri__V1__ImageChange *const *from, size_t n,
                                             struct arena *arena) {
        struct image_change *list = arena_array(arena, struct image_change, n + 1);

        for (size_t i = 0; i < n; i++) {
                const char **words = arena_array(arena, const char *, from[i]->n_words + 1);

                for (size_t k = 0; k < from[i]->n_words; k++)
                        words[k] = from[i]->words[k];
                list[i] = (struct image_change){ from[i]->what, from[i]->value, from[i]->remove, words };
        }
        return list;
}

static int run_edit(struct transfer *t, struct err *err) {
        const Proxmoxlxcri__V1__EditImageRequest *req = (const Proxmoxlxcri__V1__EditImageRequest *) t->request;
        const char **names = arena_array(t->arena, const char *, req->n_names + 1);
        const struct image_edit_args args = { .image = req->image,
                                              .names = req->n_names ? names : NULL,
                                              .changes = changes_of(req->changes, req->n_changes, t->arena),
                                              .n_changes = req->n_changes,
                                              .cancel_fd = t->cancel_fd,
                                              .deadline_ns = t->deadline_ns,
                                              .progress = note_progress,
                                              .userdata = t };

        for (size_t i = 0; i < req->n_names; i++)
                names[i] = req->names[i];
        return images_edit(t->admin->images, &args, t->arena, &t->image_id, err);
}

int admin_edit_image(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__EditImageRequest *req = (const Proxmoxlxcri__V1__EditImageRequest *) request;

        if (str_empty(req->image) || req->n_names > SAVED_MAX || req->n_changes > CHANGES_MAX)
                return err_set(err, ERR_INVALID, "an image is wanted, at most %d names and %d changes", SAVED_MAX,
                               CHANGES_MAX);
        return transfer(call, request, userdata, run_edit, err);
}

static int run_load(struct transfer *t, struct err *err) {
        const Proxmoxlxcri__V1__LoadImagesRequest *req = (const Proxmoxlxcri__V1__LoadImagesRequest *) t->request;
        const char **names = arena_array(t->arena, const char *, req->n_names + 1);
        const struct image_load_args args = { .fd = t->fds[0],
                                              .names = names,
                                              .platform = str_empty(req->platform) ? NULL : req->platform,
                                              .cancel_fd = t->cancel_fd,
                                              .progress = note_progress,
                                              .userdata = t };

        for (size_t i = 0; i < req->n_names; i++)
                names[i] = req->names[i];
        return images_load(t->admin->images, &args, t->arena, &t->loaded, &t->n_loaded, err);
}

int admin_load_images(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__LoadImagesRequest *req = (const Proxmoxlxcri__V1__LoadImagesRequest *) request;
        _cleanup_(fd_closep) int fd = -1;
        int r;

        if (req->n_names > SAVED_MAX)
                return err_set(err, ERR_INVALID, "more than %d names", SAVED_MAX);
        r = grpc_call_take_fd(call, req->descriptor, &fd, err);
        return r < 0 ? r : transfer_with(call, request, userdata, run_load, &fd, err);
}

static int run_import(struct transfer *t, struct err *err) {
        const Proxmoxlxcri__V1__ImportImageRequest *req = (const Proxmoxlxcri__V1__ImportImageRequest *) t->request;
        const char **names = arena_array(t->arena, const char *, req->n_names + 1);
        const char **exclude = arena_array(t->arena, const char *, req->n_exclude + 1);
        const struct image_import_args args = { .fd = t->fds[0],
                                                .exclude = exclude,
                                                .names = names,
                                                .changes = changes_of(req->changes, req->n_changes, t->arena),
                                                .n_changes = req->n_changes,
                                                .comment = req->comment,
                                                .zstd = req->zstd,
                                                .cancel_fd = t->cancel_fd,
                                                .progress = note_progress,
                                                .userdata = t };

        for (size_t i = 0; i < req->n_names; i++)
                names[i] = req->names[i];
        for (size_t i = 0; i < req->n_exclude; i++)
                exclude[i] = req->exclude[i];
        return images_import(t->admin->images, &args, t->arena, &t->image_id, err);
}

int admin_import_image(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__ImportImageRequest *req = (const Proxmoxlxcri__V1__ImportImageRequest *) request;
        _cleanup_(fd_closep) int fd = -1;
        int r;

        if (req->n_names > SAVED_MAX || req->n_changes > CHANGES_MAX || req->n_exclude > SAVED_MAX)
                return err_set(err, ERR_INVALID, "more than %d names, %d changes or %d paths", SAVED_MAX, CHANGES_MAX,
                               SAVED_MAX);
        r = grpc_call_take_fd(call, req->descriptor, &fd, err);
        return r < 0 ? r : transfer_with(call, request, userdata, run_import, &fd, err);
}

/* --- artifacts --------------------------------------------------------------------------------------------------- */

static void close_all(int *fds, size_t n) {
        for (size_t i = 0; i < n; i++)
                (void) fd_close(fds[i]);
        free(fds);
}

static int run_push_artifact(struct transfer *t, struct err *err) {
        const Proxmoxlxcri__V1__PushArtifactRequest *req = (const Proxmoxlxcri__V1__PushArtifactRequest *) t->request;
        struct image_artifact_file *files = arena_array(t->arena, struct image_artifact_file, req->n_files + 1);
        const char **annotations = arena_array(t->arena, const char *, 2 * req->n_annotations + 1);
        const struct image_auth auth = auth_of(req->credentials);
        const struct image_artifact_args args = { .to = req->destination,
                                                  .auth = &auth,
                                                  .type = req->artifact_type,
                                                  .files = files,
                                                  .n_files = req->n_files,
                                                  .subject = str_empty(req->subject) ? NULL : req->subject,
                                                  .annotations = annotations,
                                                  .cancel_fd = t->cancel_fd,
                                                  .deadline_ns = t->deadline_ns,
                                                  .progress = note_progress,
                                                  .userdata = t };

        for (size_t i = 0; i < req->n_files; i++)
                files[i] = (struct image_artifact_file){ t->fds[i], req->files[i]->title, req->files[i]->media_type };
        for (size_t i = 0; i < req->n_annotations; i++) {
                annotations[2 * i] = req->annotations[i]->key;
                annotations[2 * i + 1] = req->annotations[i]->value;
        }
        return images_push_artifact(t->admin->images, &args, t->arena, &t->digest, err);
}

int admin_push_artifact(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__PushArtifactRequest *req = (const Proxmoxlxcri__V1__PushArtifactRequest *) request;
        size_t n = 0;
        int *fds, r = 0;

        if (str_empty(req->destination) || req->n_files > ARTIFACT_FILES_MAX || req->n_annotations > SAVED_MAX)
                return err_set(err, ERR_INVALID, "a destination is wanted, at most %d files and %d annotations",
                               ARTIFACT_FILES_MAX, SAVED_MAX);
        fds = xcalloc(req->n_files + 1, sizeof(*fds));
        for (; r == 0 && n < req->n_files; n += r == 0)
                r = grpc_call_take_fd(call, req->files[n]->descriptor, &fds[n], err);
        if (r == 0)
                r = transfer_with(call, request, userdata, run_push_artifact, fds, err);
        close_all(fds, n);
        return r;
}

static int run_fetch(struct transfer *t, struct err *err) {
        const Proxmoxlxcri__V1__FetchBlobsRequest *req = (const Proxmoxlxcri__V1__FetchBlobsRequest *) t->request;
        struct image_fetch *blobs = arena_array(t->arena, struct image_fetch, req->n_blobs + 1);
        const struct image_auth auth = auth_of(req->credentials);
        const struct image_remote remote = {
                .name = req->reference, .auth = &auth, .cancel_fd = t->cancel_fd, .deadline_ns = t->deadline_ns
        };

        for (size_t i = 0; i < req->n_blobs; i++)
                blobs[i] = (struct image_fetch){ req->blobs[i]->digest, req->blobs[i]->size_bytes, t->fds[i] };
        t->digest = req->blobs[0]->digest;
        return images_fetch_blobs(t->admin->images, &remote, blobs, req->n_blobs, note_progress, t, err);
}

int admin_fetch_blobs(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__FetchBlobsRequest *req = (const Proxmoxlxcri__V1__FetchBlobsRequest *) request;
        size_t n = 0;
        int *fds, r = 0;

        if (str_empty(req->reference) || req->n_blobs == 0 || req->n_blobs > ARTIFACT_FILES_MAX)
                return err_set(err, ERR_INVALID, "a reference is wanted, and 1 to %d blobs", ARTIFACT_FILES_MAX);
        fds = xcalloc(req->n_blobs, sizeof(*fds));
        for (; r == 0 && n < req->n_blobs; n += r == 0)
                r = grpc_call_take_fd(call, req->blobs[n]->descriptor, &fds[n], err);
        if (r == 0)
                r = transfer_with(call, request, userdata, run_fetch, fds, err);
        close_all(fds, n);
        return r;
}

static int run_commit(struct transfer *t, struct err *err) {
        const Proxmoxlxcri__V1__CommitContainerRequest *req =
                (const Proxmoxlxcri__V1__CommitContainerRequest *) t->request;
        const char **names = arena_array(t->arena, const char *, req->n_names + 1);
        const struct pods_ctx ctx = { .cancel_fd = t->cancel_fd, .deadline_ns = t->deadline_ns };
        const struct pods_commit_args args = { .container = req->container,
                                               .pause = !req->without_pause,
                                               .names = names,
                                               .changes = changes_of(req->changes, req->n_changes, t->arena),
                                               .n_changes = req->n_changes,
                                               .zstd = req->zstd,
                                               .author = str_empty(req->author) ? NULL : req->author,
                                               .message = str_empty(req->message) ? NULL : req->message,
                                               .progress = note_progress,
                                               .userdata = t };

        for (size_t i = 0; i < req->n_names; i++)
                names[i] = req->names[i];
        return pods_commit(t->admin->pods, &ctx, &args, t->arena, &t->image_id, err);
}

int admin_commit_container(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err) {
        const Proxmoxlxcri__V1__CommitContainerRequest *req =
                (const Proxmoxlxcri__V1__CommitContainerRequest *) request;

        if (req->n_names > SAVED_MAX || req->n_changes > CHANGES_MAX)
                return err_set(err, ERR_INVALID, "at most %d names and %d changes", SAVED_MAX, CHANGES_MAX);
        return transfer(call, request, userdata, run_commit, err);
}
