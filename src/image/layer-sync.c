/* SPDX-License-Identifier: Apache-2.0 */
/* Layers reach the disk behind the scenes: see layer-internal.h. One thread, which also removes what a crash left over.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "image/layer-internal.h"

enum {
        WAIT_MS = 1000, /* so that the layers of one image share one sync */
        STACK_BYTES = 256 * 1024
};

static void add(struct layers *l, uint64_t number) {
        xgrow(l->sync.pending, l->sync.n, l->sync.cap);
        l->sync.pending[l->sync.n++] = number;
}

/* Put a layer of an earlier boot out of the way: match_names() then drops its name. */
static int drop(struct layers *l, const char *name, struct err *err) {
        if (renameat(l->dirfd, name, l->tmp_fd, name) < 0) {
                if (errno != ENOENT)
                        return err_sys(err, errno, "put aside layer %s", name);
        } else {
                log_warn("layer was not yet on disk when the machine stopped: dropped", "layer", name, NULL);
        }
        layer_sync_forget(l, name);
        return 0;
}

int layer_sync_init(struct layers *l, struct err *err) {
        _cleanup_(freep) char *boot = NULL;
        _cleanup_(closedirp) DIR *d = NULL;
        struct dirent *e;
        uint64_t number;
        int fd, r;

        r = fs_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot, NULL, err);
        if (r < 0)
                return r;
        (void) snprintf(l->boot_id, sizeof(l->boot_id), "%.36s", boot);
        fd = openat(l->unsynced_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        d = fd < 0 ? NULL : fdopendir(fd);
        if (!d) {
                r = err_sys(err, errno, "list folder of layers");
                fd_close(fd);
                return r;
        }
        while (r == 0 && (errno = 0, e = readdir(d))) {
                _cleanup_(freep) char *said = NULL;

                if (!str_to_u64(e->d_name, &number)) {
                        if (e->d_name[0] != '.') /* half-written */
                                layer_sync_forget(l, e->d_name);
                        continue;
                }
                if (fs_read_file(l->unsynced_fd, e->d_name, 64, &said, NULL, err) == 0 && str_eq(said, l->boot_id))
                        add(l, number);
                else
                        r = drop(l, e->d_name, err);
        }
        return r == 0 && errno ? err_sys(err, errno, "list folder of layers") : r;
}

/* Before anybody else puts something there: what is being removed by two fails one of them. */
static void find_left_over(struct layers *l) {
        int fd = openat(l->tmp_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
        const struct dirent *e;
        size_t cap = 0;
        uint64_t n;

        if (!d)
                fd_close(fd);
        while (d && (e = readdir(d)))
                if (str_to_u64(e->d_name, &n)) {
                        xgrow(l->sync.left_over, l->sync.n_left_over, cap);
                        l->sync.left_over[l->sync.n_left_over++] = n;
                }
}

static void tidy_up(struct layers *l) {
        for (size_t i = 0; i < l->sync.n_left_over; i++) {
                char name[LAYER_NAME_SIZE];
                struct err err;

                (void) snprintf(name, sizeof(name), "%llu", (unsigned long long) l->sync.left_over[i]);
                if (layer_drop_tmp(l, name, &err) < 0)
                        log_warn("can't remove a left-over layer", "layer", name, "error", err.msg, NULL);
        }
}

/* With the lock held, which is let go meanwhile. 0 or -errno. */
static int sync_pending(struct layers *l) {
        _cleanup_(freep) uint64_t *list = NULL;
        bool ok;
        size_t n;
        int r = 0;

        while (l->sync.busy)
                (void) pthread_cond_wait(&l->sync.changed, &l->lock);
        list = TAKE_PTR(l->sync.pending);
        n = l->sync.n;
        l->sync.n = l->sync.cap = 0;
        l->sync.busy = true;
        (void) pthread_mutex_unlock(&l->lock);
        ok = syncfs(l->dirfd) == 0;
        if (!ok) {
                r = -errno;
                log_error("layers can't be written to disk", "error", strerror(errno), NULL);
        }
        for (size_t i = 0; ok && i < n; i++) {
                char name[LAYER_NAME_SIZE];

                (void) snprintf(name, sizeof(name), "%llu", (unsigned long long) list[i]);
                layer_sync_forget(l, name);
        }
        (void) pthread_mutex_lock(&l->lock);
        l->sync.busy = false;
        (void) pthread_cond_broadcast(&l->sync.changed);
        return r;
}

int layers_sync(struct layers *l, struct err *err) {
        int r;

        (void) pthread_mutex_lock(&l->lock);
        r = sync_pending(l);
        (void) pthread_mutex_unlock(&l->lock);
        if (r == 0 && fsync(l->unsynced_fd) < 0) /* that the notes are gone */
                r = -errno;
        return r < 0 ? err_sys(err, -r, "write layers to disk") : 0;
}

/* Until nothing was added for WAIT_MS. With the lock held. */
static void wait_for_more(struct layers *l) {
        struct timespec until;
        size_t n;

        do {
                n = l->sync.n;
                (void) clock_gettime(CLOCK_REALTIME, &until);
                until.tv_sec += WAIT_MS / 1000;
                while (!l->sync.stop && pthread_cond_timedwait(&l->sync.changed, &l->lock, &until) != ETIMEDOUT)
                        ;
        } while (!l->sync.stop && l->sync.n != n);
}

static void *run(void *arg) {
        struct layers *l = arg;

        (void) pthread_setname_np(pthread_self(), "layer-sync");
        tidy_up(l);
        (void) pthread_mutex_lock(&l->lock);
        while (!l->sync.stop || l->sync.n) {
                if (l->sync.n == 0) {
                        (void) pthread_cond_wait(&l->sync.changed, &l->lock);
                        continue;
                }
                wait_for_more(l);
                if (l->sync.n)
                        (void) sync_pending(l);
        }
        (void) pthread_mutex_unlock(&l->lock);
        return NULL;
}

void layer_sync_start(struct layers *l) {
        find_left_over(l);
        l->sync.running = thread_start(STACK_BYTES, run, l, &l->sync.thread) == 0;
        if (!l->sync.running)
                log_warn("no thread for syncing layers: a crash of the machine may cost images", NULL);
}

void layer_sync_done(struct layers *l) {
        if (l->sync.running) {
                (void) pthread_mutex_lock(&l->lock);
                l->sync.stop = true;
                (void) pthread_cond_broadcast(&l->sync.changed);
                (void) pthread_mutex_unlock(&l->lock);
                (void) pthread_join(l->sync.thread, NULL);
        }
        free(l->sync.pending);
        free(l->sync.left_over);
}

int layer_sync_note(struct layers *l, uint64_t number, struct err *err) {
        char name[LAYER_NAME_SIZE];
        int r;

        (void) snprintf(name, sizeof(name), "%llu", (unsigned long long) number);
        r = fs_write_atomic(l->unsynced_fd, name, l->boot_id, strlen(l->boot_id), 0600, false, err);
        return r < 0 ? err_wrap(err, "note that layer %s is not on disk", name) : 0;
}

void layer_sync_later(struct layers *l, uint64_t number) {
        (void) pthread_mutex_lock(&l->lock);
        add(l, number);
        (void) pthread_cond_broadcast(&l->sync.changed);
        (void) pthread_mutex_unlock(&l->lock);
}

void layer_sync_forget(struct layers *l, const char *name) {
        (void) unlinkat(l->unsynced_fd, name, 0);
}
