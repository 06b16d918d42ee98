/* SPDX-License-Identifier: Apache-2.0 */
#include "image/flights.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"
#include "base/thread.h"

enum { FLIGHTS_MAX = 256, STACK_BYTES = 1024 * 1024 };

struct waiter {
        struct waiter *next;
        const struct image_pull_args *args;
};

struct flight {
        struct flights *all;
        char *key;
        unsigned refs; /* waiters and the thread; guarded by all->lock, as is listed */
        bool listed;   /* newcomers may join */
        int done_fd;   /* readable when result, err and id are set */
        int cancel_fd; /* readable: stop */
        struct arena *arena;
        struct ref ref;
        struct credentials *creds;
        pthread_mutex_t lock; /* guards what follows */
        struct waiter *waiters;
        struct image_progress *progress; /* last of each layer, for those who join late */
        size_t n_layers;
        bool done;
        int result;
        struct err err;
        const char *id;
};

struct flights {
        struct pull_env env;
        pthread_mutex_t lock; /* taken before a flight's own */
        pthread_cond_t landed;
        struct map *map; /* key -> struct flight, the listed ones */
        size_t n_threads;
        bool has_ended;
        pthread_t ended; /* the last thread to end; it joins the one before, so that all are gone when it is */
};

struct flights *flights_new(const struct pull_env *env) {
        struct flights *f = xnew(struct flights);

        f->env = *env;
        f->map = map_new();
        (void) pthread_mutex_init(&f->lock, NULL);
        (void) pthread_cond_init(&f->landed, NULL);
        return f;
}

struct flights *flights_free(struct flights *f) {
        if (!f)
                return NULL;
        (void) pthread_mutex_lock(&f->lock);
        while (f->n_threads)
                (void) pthread_cond_wait(&f->landed, &f->lock);
        (void) pthread_mutex_unlock(&f->lock);
        if (f->has_ended)
                (void) pthread_join(f->ended, NULL);
        (void) map_free(f->map);
        (void) pthread_cond_destroy(&f->landed);
        (void) pthread_mutex_destroy(&f->lock);
        free(f);
        return NULL;
}

static struct flight *flight_free(struct flight *fl) {
        if (!fl)
                return NULL;
        (void) credentials_free(fl->creds);
        (void) arena_free(fl->arena);
        (void) fd_close(fl->done_fd);
        (void) fd_close(fl->cancel_fd);
        (void) pthread_mutex_destroy(&fl->lock);
        free(fl->progress);
        free(fl->key);
        free(fl);
        return NULL;
}
DEFINE_CLEANUP(struct flight *, flight_free)

/* @all->lock is held. The last one frees it. */
static void unref_locked(struct flight *fl) {
        if (--fl->refs == 0)
                (void) flight_free(fl);
}

static void unlist_locked(struct flight *fl) {
        if (fl->listed)
                (void) map_take(fl->all->map, fl->key);
        fl->listed = false;
}

/* To everybody who waits. Held under the flight's lock, so that nobody is called who has left. */
static void on_progress(const struct image_progress *p, size_t layer, size_t n_layers, void *userdata) {
        struct flight *fl = userdata;

        (void) pthread_mutex_lock(&fl->lock);
        if (!fl->progress) {
                fl->progress = xcalloc(n_layers, sizeof(*fl->progress));
                fl->n_layers = n_layers;
        }
        fl->progress[layer] = *p;
        for (const struct waiter *w = fl->waiters; w; w = w->next)
                if (w->args->progress)
                        w->args->progress(p, layer, n_layers, w->args->userdata);
        (void) pthread_mutex_unlock(&fl->lock);
}

/* Memory of big pulls goes back to the system when the last has landed: between pulls the daemon is small. */
static void give_memory_back(struct flights *all) {
        registries_trim(all->env.registries);
        (void) malloc_trim(0);
}

static void *fly(void *arg) {
        struct flight *fl = arg;
        struct flights *all = fl->all;
        const struct pull_args args = {
                .ref = &fl->ref, .creds = fl->creds, .cancel_fd = fl->cancel_fd, .progress = on_progress, .userdata = fl
        };
        struct err err = { 0 };
        const char *id = NULL;
        bool last, has_before;
        pthread_t before;
        int r;

        (void) pthread_setname_np(pthread_self(), "pull");
        r = pull_run(&all->env, &args, fl->arena, &id, &err);
        (void) pthread_mutex_lock(&all->lock);
        unlist_locked(fl);
        (void) pthread_mutex_lock(&fl->lock);
        fl->result = r;
        fl->err = err;
        fl->id = id;
        fl->done = true;
        (void) pthread_mutex_unlock(&fl->lock);
        (void) eventfd_write(fl->done_fd, 1);
        unref_locked(fl);
        last = all->n_threads == 1;
        (void) pthread_mutex_unlock(&all->lock);
        if (last)
                give_memory_back(all);
        (void) pthread_mutex_lock(&all->lock);
        has_before = all->has_ended;
        before = all->ended;
        all->has_ended = true;
        all->ended = pthread_self();
        all->n_threads--;
        (void) pthread_cond_broadcast(&all->landed);
        (void) pthread_mutex_unlock(&all->lock);
        if (has_before)
                (void) pthread_join(before, NULL);
        return NULL;
}

static int flight_new(struct flights *all, const struct image_pull_args *args, struct flight **ret, struct err *err) {
        _cleanup_(flight_freep) struct flight *fl = xnew(struct flight);
        int r;

        fl->all = all;
        fl->done_fd = fl->cancel_fd = -1;
        (void) pthread_mutex_init(&fl->lock, NULL);
        fl->arena = arena_new(PULL_ARENA_MAX);
        r = ref_parse(args->reference, fl->arena, &fl->ref, err);
        if (r == 0)
                r = credentials_new(args->auth, &fl->creds, err);
        if (r < 0)
                return r;
        fl->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        fl->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fl->done_fd < 0 || fl->cancel_fd < 0)
                return err_sys(err, errno, "eventfd");
        fl->key = xstrdup(arena_printf(fl->arena, "%s %s", ref_string(&fl->ref, fl->arena), fl->creds->fingerprint));
        *ret = TAKE_PTR(fl);
        return 0;
}

static bool start_thread(struct flight *fl) {
        pthread_t thread;

        return thread_start(STACK_BYTES, fly, fl, &thread) == 0;
}

/* @all->lock is held. */
static int take_off_locked(struct flights *all, struct flight *fl, struct err *err) {
        if (all->n_threads >= FLIGHTS_MAX)
                return err_set(err, ERR_EXHAUSTED, "more than %d pulls at once", FLIGHTS_MAX);
        fl->refs = 1;
        if (!start_thread(fl))
                return err_set(err, ERR_EXHAUSTED, "no thread can be started");
        all->n_threads++;
        fl->listed = true;
        (void) map_set(all->map, fl->key, fl);
        return 0;
}

/* Become a waiter of the flight for @fresh's key: the one under way, or @fresh itself (then it is taken). */
static int board(struct flights *all, struct flight **fresh, struct waiter *w, struct flight **ret, struct err *err) {
        struct flight *fl;
        int r = 0;

        (void) pthread_mutex_lock(&all->lock);
        fl = map_get(all->map, (*fresh)->key);
        if (!fl) {
                r = take_off_locked(all, *fresh, err);
                if (r == 0)
                        fl = TAKE_PTR(*fresh);
        }
        if (r == 0) {
                fl->refs++;
                (void) pthread_mutex_lock(&fl->lock);
                w->next = fl->waiters;
                fl->waiters = w;
                for (size_t i = 0; w->args->progress && i < fl->n_layers; i++)
                        if (fl->progress[i].digest)
                                w->args->progress(&fl->progress[i], i, fl->n_layers, w->args->userdata);
                (void) pthread_mutex_unlock(&fl->lock);
        }
        (void) pthread_mutex_unlock(&all->lock);
        *ret = fl;
        return r;
}

/* Until the flight has landed, or the caller wants no more. */
static int wait_for(const struct flight *fl, const struct image_pull_args *args, struct err *err) {
        struct pollfd fds[] = { { .fd = fl->done_fd, .events = POLLIN }, { .fd = args->cancel_fd, .events = POLLIN } };
        uint64_t now;
        int timeout = -1;

        for (;;) {
                if (args->deadline_ns != UINT64_MAX) {
                        now = clock_monotonic_ns();
                        if (now >= args->deadline_ns)
                                return err_set(err, ERR_DEADLINE, "deadline exceeded");
                        timeout = (int) MIN_OF((args->deadline_ns - now) / 1000000 + 1, (uint64_t) 60000);
                }
                if (poll(fds, 2, timeout) < 0 && errno != EINTR)
                        return err_sys(err, errno, "poll");
                if (fds[0].revents)
                        return 0;
                if (fds[1].revents)
                        return err_set(err, ERR_CANCELLED, "cancelled");
                fds[0].revents = fds[1].revents = 0;
        }
}

/* The last one out stops the flight and sees it land, so that nothing is left behind when the caller returns. */
static void leave(struct flight *fl, const struct waiter *w) {
        struct flights *all = fl->all;
        struct pollfd done = { .fd = fl->done_fd, .events = POLLIN };
        bool last;

        (void) pthread_mutex_lock(&all->lock);
        (void) pthread_mutex_lock(&fl->lock);
        for (struct waiter **at = &fl->waiters; *at; at = &(*at)->next) {
                if (*at == w) {
                        *at = w->next;
                        break;
                }
        }
        last = !fl->waiters && !fl->done;
        (void) pthread_mutex_unlock(&fl->lock);
        if (last) {
                unlist_locked(fl);
                (void) eventfd_write(fl->cancel_fd, 1);
        }
        (void) pthread_mutex_unlock(&all->lock);
        while (last && poll(&done, 1, -1) < 0 && errno == EINTR)
                ;
}

int flights_pull(struct flights *f, const struct image_pull_args *args, struct arena *arena, const char **ret_id,
                 struct err *err) {
        _cleanup_(flight_freep) struct flight *fresh = NULL;
        struct waiter w = { .args = args };
        char name[REF_NAME_MAX + 2 + REF_TAG_MAX] = "";
        struct flight *fl;
        int r;

        r = flight_new(f, args, &fresh, err);
        if (r < 0)
                return err_wrap(err, "pull");
        (void) snprintf(name, sizeof(name), "%s", ref_string(&fresh->ref, fresh->arena));
        r = board(f, &fresh, &w, &fl, err);
        if (r < 0)
                return err_wrap(err, "pull %s", name);
        r = wait_for(fl, args, err);
        leave(fl, &w);
        (void) pthread_mutex_lock(&f->lock);
        if (r == 0) {
                r = fl->result;
                if (r == 0)
                        *ret_id = arena_strdup(arena, fl->id);
                else
                        *err = fl->err;
        }
        unref_locked(fl);
        (void) pthread_mutex_unlock(&f->lock);
        if (r < 0)
                (void) err_wrap(err, "pull %s", name);
        /* The kubelet tells both by these prefixes. */
        if (r < 0 && err->kind == IMAGE_ERR_SIGNATURE)
                return err_wrap(err, "SignatureValidationFailed");
        return r == -ERR_UNAVAILABLE ? err_wrap(err, "RegistryUnavailable") : r;
}
