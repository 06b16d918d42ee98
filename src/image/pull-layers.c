/* SPDX-License-Identifier: Apache-2.0 */
/* The layers of one pull: a few threads download and unpack, each its own layer; the calling thread finishes them in
 * order, since a layer settles against those below it. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "image/pull.h"

enum { REPORT_MS = 100, STACK_BYTES = 1024 * 1024, READ_BYTES = 256 * 1024 };

enum job_state { JOB_WAITING, JOB_UNPACKED, JOB_EXISTS, JOB_FAILED };

struct job {
        struct jobs *all;
        const struct pull_layer *layer;
        size_t number;
        enum job_state state; /* guarded by all->lock */
        bool claimed, resumed;
        bool kept;           /* what came is there as a blob, too */
        uint64_t given_back; /* bytes of such a blob that was in the way; what came later may have taken that room */
        struct layer_sink *sink;
        struct content_writer *blob; /* NULL: it is not kept */
        uint64_t done_bytes, reported_ns;
};

struct jobs {
        const struct pull_env *env;
        const struct pull_args *args;
        struct source *source;
        int cancel_fd; /* readable: the caller stops, or a layer failed; an epoll of both */
        int failed_fd; /* an eventfd of this pull's own: who tries again begins with another */
        struct job *list;
        size_t n;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        size_t next;  /* the first that no thread has taken up */
        bool no_room; /* for blobs besides the layers */
        bool failed;
        struct err first_err; /* why; what came after it was only cancelled */
        uint64_t kept_bytes;  /* when all has ended: of blobs that came besides the layers */
        uint64_t left_bytes;  /* that have not come */
};

static void report(struct job *j, int state) {
        const struct image_progress p = {
                .digest = j->layer->blob->digest,
                .total_bytes = j->layer->blob->size,
                .done_bytes = state == LAYER_DONE || state == LAYER_EXISTS ? j->layer->blob->size : j->done_bytes,
                .state = state == LAYER_DOWNLOADING && !j->all->source ? LAYER_UNPACKING : state
        };

        j->reported_ns = clock_monotonic_ns();
        j->all->args->progress(&p, j->number, j->all->n, j->all->args->userdata);
}

/* The blob is but a cache: when it can't be written, the layer comes none the less. */
static void keep_bytes(struct job *j, const void *data, size_t len) {
        struct err err;

        if (!j->blob || content_writer_write(j->blob, data, len, &err) == 0)
                return;
        log_warn("a layer's blob is not kept", "error", err.msg, NULL);
        j->blob = content_writer_free(j->blob, false);
        j->kept = false;
        j->given_back = j->done_bytes;
}

static int unpack_bytes(struct job *j, const void *data, size_t len, struct err *err) {
        int r = layer_sink_write(j->sink, data, len, err);

        j->done_bytes += len;
        if (r == 0 && clock_monotonic_ns() - j->reported_ns >= REPORT_MS * 1000000ull)
                report(j, LAYER_DOWNLOADING);
        return r;
}

static int take_bytes(const void *data, size_t len, void *userdata, struct err *err) {
        struct job *j = userdata;

        keep_bytes(j, data, len);
        return unpack_bytes(j, data, len, err);
}

static bool is_cancelled(const struct jobs *all) {
        struct pollfd p = { .fd = all->cancel_fd, .events = POLLIN };

        return poll(&p, 1, 0) > 0;
}

static int new_sink(struct job *j, struct err *err) {
        const struct pull_env *env = j->all->env;
        const struct descriptor *blob = j->layer->blob;
        const struct layer_sink_args args = { .digest = blob->digest,
                                              .size_bytes = blob->size,
                                              .media_type = blob->media_type,
                                              .diff_id = j->layer->diff_id,
                                              .max_bytes = env->max_layer_bytes,
                                              .max_entries = env->max_layer_entries };

        j->sink = layer_sink_free(j->sink);
        j->done_bytes = 0;
        report(j, LAYER_DOWNLOADING);
        return layer_sink_new(env->layers, &args, &j->sink, err);
}

/* The first @size bytes, from disk. */
static int unpack_file(struct job *j, int fd, uint64_t size, struct err *err) {
        _cleanup_(freep) char *buf = xcalloc(1, READ_BYTES);
        int r = 0;

        for (uint64_t at = 0; r == 0 && at < size;) {
                ssize_t n = pread(fd, buf, (size_t) MIN_OF((uint64_t) READ_BYTES, size - at), (off_t) at);

                if (is_cancelled(j->all))
                        return err_set(err, ERR_CANCELLED, "cancelled");
                if (n <= 0) /* a bad disk makes it worthless, as other damage does */
                        return err_set(err, ERR_DATA_LOSS, "read a kept blob: %s", strerror(n < 0 ? errno : EIO));
                r = unpack_bytes(j, buf, (size_t) n, err);
                at += (uint64_t) n;
        }
        return r;
}

static int download(struct job *j, bool no_mirrors, bool resume, struct err *err) {
        const struct pull_env *env = j->all->env;
        const struct descriptor *d = j->layer->blob;
        struct blob_sink sink = { .write = take_bytes, .userdata = j };
        struct err not_kept;
        int r = new_sink(j, err);

        if (r == 0 && env->keep_blobs && !j->all->no_room) {
                if (!resume)
                        content_forget_part(env->content, d->digest);
                if (content_writer_new(env->content, d->digest, d->size, true, &j->blob, &sink.have, &not_kept) < 0)
                        log_debug("a layer's blob is not kept", "error", not_kept.msg, NULL);
        }
        j->kept = j->blob != NULL;
        j->given_back = 0;
        j->resumed = sink.have > 0;
        if (r == 0 && j->resumed)
                r = unpack_file(j, content_writer_fd(j->blob), sink.have, err);
        if (r == 0)
                r = source_get_blob(j->all->source, d->digest, d->size, &sink, no_mirrors, err);
        if (r == 0)
                r = layer_sink_end(j->sink, err);
        if (r == 0 && j->blob && content_writer_commit(j->blob, false, &not_kept) < 0) {
                log_warn("a layer's blob is not kept", "error", not_kept.msg, NULL);
                j->kept = false;
        }
        j->blob = content_writer_free(j->blob, r == -ERR_UNAVAILABLE || r == -ERR_CANCELLED || r == -ERR_DEADLINE);
        return r;
}

static bool is_rubbish(int r) {
        return r == -ERR_DATA_LOSS || r == -ERR_INVALID;
}

/* 1: not kept, or worth nothing. One that is what its digest says stays, whatever the image makes of it: it may be
 * another's, too, and would come again as it is. So does one that comes from nowhere else. */
static int from_kept_blob(struct job *j, struct err *err) {
        const struct pull_env *env = j->all->env;
        const struct descriptor *d = j->layer->blob;
        _cleanup_(fd_closep) int fd = -1;
        int r;

        if (content_open(env->content, d->digest, d->size, &fd, err) < 0)
                return 1;
        r = new_sink(j, err);
        j->kept = true;
        if (r == 0)
                r = unpack_file(j, fd, d->size, err);
        if (r == 0)
                r = layer_sink_end(j->sink, err);
        if (is_rubbish(r) && j->all->source && !content_is_sound(env->content, d->digest, d->size)) {
                log_warn("a kept blob is damaged and comes anew", "digest", d->digest, "error", err->msg, NULL);
                return content_remove(env->content, d->digest, err) < 0 ? -(int) err->code : 1;
        }
        return r;
}

/* Parts that don't fit together, or a mirror that serves rubbish, cost another download, not the pull. */
static int download_from_somewhere(struct job *j, struct err *err) {
        int r = download(j, false, true, err);

        if (is_rubbish(r) && (source_use_one_stream(j->all->source) || j->resumed))
                r = download(j, false, false, err);
        if (is_rubbish(r) && source_has_mirrors(j->all->source))
                r = download(j, true, false, err);
        return r;
}

/* What was kept is tried first. */
static int bring(struct job *j, struct err *err) {
        int r = from_kept_blob(j, err);

        if (r > 0 && !j->all->source)
                r = err_set(err, ERR_NOT_FOUND, "its blob is not kept, and nothing is known of where it is from");
        if (r > 0)
                r = download_from_somewhere(j, err);
        return r < 0 ? err_wrap(err, "layer %s", j->layer->blob->digest) : 0;
}

static int run_job(struct job *j, enum job_state *ret, struct err *err) {
        const struct pull_env *env = j->all->env;

        *ret = JOB_EXISTS;
        if (records_layer_is_done(env->records, j->layer->chain_id))
                return 0;
        j->claimed = claims_take(env->claims, j->layer->chain_id, j->all->cancel_fd);
        if (!j->claimed)
                return err_set(err, ERR_CANCELLED, "cancelled");
        if (records_layer_is_done(env->records, j->layer->chain_id)) {
                claims_drop(env->claims, j->layer->chain_id);
                j->claimed = false;
                return 0;
        }
        *ret = JOB_UNPACKED;
        return bring(j, err);
}

/* Stops the other threads of this pull, wherever they wait. */
static void fail_locked(struct jobs *all, const struct err *err) {
        if (all->failed)
                return;
        all->failed = true;
        all->first_err = *err;
        (void) eventfd_write(all->failed_fd, 1);
}

static void *worker(void *arg) {
        struct jobs *all = arg;
        enum job_state state;
        struct err err;

        (void) pthread_setname_np(pthread_self(), "layer");
        (void) pthread_mutex_lock(&all->lock);
        while (!all->failed && all->next < all->n) {
                struct job *j = &all->list[all->next++];
                int r;

                (void) pthread_mutex_unlock(&all->lock);
                r = run_job(j, &state, &err);
                if (r == 0 && state == JOB_EXISTS)
                        report(j, LAYER_EXISTS);
                (void) pthread_mutex_lock(&all->lock);
                j->state = r < 0 ? JOB_FAILED : state;
                if (r < 0)
                        fail_locked(all, &err);
                (void) pthread_cond_broadcast(&all->changed);
        }
        (void) pthread_mutex_unlock(&all->lock);
        return NULL;
}

static size_t start_workers(struct jobs *all, pthread_t *threads, size_t max) {
        size_t n = 0;

        while (n < max && thread_start(STACK_BYTES, worker, all, &threads[n]) == 0)
                n++;
        return n;
}

static int finish_one(struct job *j, const char *const *lower, struct err *err) {
        const struct pull_env *env = j->all->env;
        uint64_t bytes, inodes;
        int r;

        if (is_cancelled(j->all))
                return err_set(err, ERR_CANCELLED, "cancelled");
        r = layer_sink_finish(j->sink, j->layer->chain_id, lower, j->number, &bytes, &inodes, err);
        if (r < 0)
                return err_wrap(err, "layer %s", j->layer->blob->digest);
        records_layer_done(env->records, j->layer->chain_id, bytes, inodes);
        j->sink = layer_sink_free(j->sink);
        claims_drop(env->claims, j->layer->chain_id);
        j->claimed = false;
        report(j, LAYER_DONE);
        return 0;
}

/* In order, each as soon as it is unpacked. */
static void finish_all(struct jobs *all, const char *const *chain_ids) {
        enum job_state state;
        struct err err;

        for (size_t i = 0; i < all->n; i++) {
                (void) pthread_mutex_lock(&all->lock);
                while (!all->failed && all->list[i].state == JOB_WAITING)
                        (void) pthread_cond_wait(&all->changed, &all->lock);
                state = all->failed ? JOB_FAILED : all->list[i].state;
                (void) pthread_mutex_unlock(&all->lock);
                if (state == JOB_FAILED)
                        return;
                if (state == JOB_UNPACKED && finish_one(&all->list[i], chain_ids, &err) < 0) {
                        (void) pthread_mutex_lock(&all->lock);
                        fail_locked(all, &err);
                        (void) pthread_mutex_unlock(&all->lock);
                        return;
                }
        }
}

static int make_stop(struct jobs *all, struct err *err) {
        struct epoll_event event = { .events = EPOLLIN };
        int r;

        all->failed_fd = eventfd(0, EFD_CLOEXEC);
        all->cancel_fd = epoll_create1(EPOLL_CLOEXEC);
        r = epoll_ctl(all->cancel_fd, EPOLL_CTL_ADD, all->failed_fd, &event);
        if (r == 0 && all->args->cancel_fd >= 0)
                r = epoll_ctl(all->cancel_fd, EPOLL_CTL_ADD, all->args->cancel_fd, &event);
        if (r < 0)
                return err_sys(err, errno, "make what stops the threads of a pull");
        if (all->source)
                source_set_cancel_fd(all->source, all->cancel_fd);
        return 0;
}

static void drop_stop(struct jobs *all) {
        if (all->source)
                source_set_cancel_fd(all->source, all->args->cancel_fd);
        (void) fd_close(all->cancel_fd);
        (void) fd_close(all->failed_fd);
}

static void sum_up(struct jobs *all) {
        for (size_t i = 0; i < all->n; i++) {
                const struct job *j = &all->list[i];

                all->kept_bytes += j->kept ? j->done_bytes : 0;
                if (2 * j->given_back > j->done_bytes)
                        all->kept_bytes += 2 * j->given_back - j->done_bytes;
                if (!records_layer_is_done(all->env->records, j->layer->chain_id))
                        all->left_bytes += j->layer->blob->size - MIN_OF(j->done_bytes, j->layer->blob->size);
        }
}

/* All blobs were given back: may the layers fit now? What has not come takes at least so much as it does packed. */
static bool may_fit(const struct jobs *all) {
        return all->left_bytes <= all->kept_bytes;
}

static void clean_up(struct jobs *all) {
        drop_stop(all);
        for (size_t i = 0; i < all->n; i++) {
                (void) layer_sink_free(all->list[i].sink);
                if (all->list[i].claimed)
                        claims_drop(all->env->claims, all->list[i].layer->chain_id);
        }
        free(all->list);
        (void) pthread_cond_destroy(&all->changed);
        (void) pthread_mutex_destroy(&all->lock);
}

static int bring_all(struct jobs *all, const struct pull_layer *layers, struct err *err) {
        size_t max = MIN_OF((size_t) all->env->max_parallel_layers, all->n), n_threads = 0;
        _cleanup_(freep) pthread_t *threads = xcalloc(max + 1, sizeof(*threads));
        _cleanup_(freep) const char **chain_ids = xcalloc(all->n + 1, sizeof(*chain_ids));

        (void) pthread_mutex_init(&all->lock, NULL);
        (void) pthread_cond_init(&all->changed, NULL);
        all->list = xcalloc(all->n + 1, sizeof(*all->list));
        for (size_t i = 0; i < all->n; i++) {
                all->list[i] = (struct job){ .all = all, .layer = &layers[i], .number = i };
                chain_ids[i] = layers[i].chain_id;
                report(&all->list[i], LAYER_WAITING);
        }
        if (make_stop(all, &all->first_err) < 0) {
                all->failed = true;
        } else if ((n_threads = start_workers(all, threads, max)) == 0 && all->n > 0) {
                all->failed = true;
                (void) err_set(&all->first_err, ERR_EXHAUSTED, "no thread can be started");
        }
        finish_all(all, chain_ids);
        for (size_t i = 0; i < n_threads; i++)
                (void) pthread_join(threads[i], NULL);
        sum_up(all);
        clean_up(all);
        if (all->failed)
                *err = all->first_err;
        return all->failed ? -(int) all->first_err.code : 0;
}

bool pull_gives_back_blobs(const struct pull_env *env, const struct pull_layer *layers, size_t n,
                           const struct err *full) {
        struct err err;

        if (full->code != ERR_EXHAUSTED || (full->sys_errno != ENOSPC && full->sys_errno != EDQUOT) || !env->keep_blobs)
                return false;
        log_warn("the disk is full: layers' blobs are not kept", "error", full->msg, NULL);
        for (size_t i = 0; i < n; i++) {
                const char *digest = layers[i].blob->digest;

                content_forget_part(env->content, digest);
                if (!records_blob_is_shared(env->records, digest) && content_remove(env->content, digest, &err) < 0)
                        log_warn("a layer's blob takes room that is wanted", "error", err.msg, NULL);
        }
        return true;
}

int pull_layers(const struct pull_env *env, const struct pull_args *args, struct source *source,
                const struct pull_layer *layers, size_t n, struct err *err) {
        struct jobs all = { .env = env, .args = args, .source = source, .n = n };
        int r = bring_all(&all, layers, err);

        if (r < 0 && source && pull_gives_back_blobs(env, layers, n, err) && may_fit(&all)) {
                all = (struct jobs){ .env = env, .args = args, .source = source, .n = n, .no_room = true };
                r = bring_all(&all, layers, err);
        }
        return r;
}

int pull_layer(const struct pull_env *env, const struct pull_args *args, struct source *source,
               const struct pull_layer *layer, struct layer_sink **ret, struct err *err) {
        struct job j = { .layer = layer };
        struct jobs all = {
                .env = env, .args = args, .source = source, .cancel_fd = args->cancel_fd, .n = 1, .list = &j
        };
        int r;

        j.all = &all;
        (void) pthread_mutex_init(&all.lock, NULL);
        r = bring(&j, err);
        if (r < 0 && source && pull_gives_back_blobs(env, layer, 1, err)) {
                all.no_room = true;
                r = bring(&j, err);
        }
        if (r == 0)
                *ret = TAKE_PTR(j.sink);
        (void) layer_sink_free(j.sink);
        (void) pthread_mutex_destroy(&all.lock);
        return r;
}
