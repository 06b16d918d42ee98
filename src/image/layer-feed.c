/* SPDX-License-Identifier: Apache-2.0 */
#include "image/layer-feed.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/thread.h"

/* Measured: smaller ones cost wake-ups, larger ones leave the CPU's cache. Whoever waits is woken for a batch. */
enum { MOVING = 4, BATCH = MOVING / 2, HELD = 2, BUFFERS = MOVING + HELD };
enum { BUFFER_BYTES = 256 * 1024, STACK_BYTES = 512 * 1024 };

struct layer_feed {
        const struct layer_feed_ops *ops;
        void *userdata;
        pthread_t thread;
        bool joined;

        pthread_mutex_t lock;
        pthread_cond_t filled, emptied;
        size_t head, used; /* buffers that the thread may take: used, from head on */
        size_t held;       /* before head: those that it took and still holds */
        bool no_more, stop, failed;
        struct err err; /* why it failed */

        size_t len[BUFFERS];
        uint8_t *data[BUFFERS];
};

/* Of all but the last @held. */
static void let_go_locked(struct layer_feed *f, size_t held) {
        if (f->held <= held)
                return;
        (void) pthread_mutex_unlock(&f->lock);
        f->ops->let_go(f->userdata, held);
        (void) pthread_mutex_lock(&f->lock);
        f->held = held;
}

static int take_all(struct layer_feed *f, bool *ret_stopped, struct err *err) {
        int r = 0;

        (void) pthread_mutex_lock(&f->lock);
        while (r == 0 && !f->stop) {
                if (f->used == 0) {
                        if (f->no_more)
                                break;
                        (void) pthread_cond_wait(&f->filled, &f->lock);
                        continue;
                }
                (void) pthread_mutex_unlock(&f->lock);
                r = f->ops->take(f->userdata, f->data[f->head], f->len[f->head], err);
                (void) pthread_mutex_lock(&f->lock);
                f->len[f->head] = 0;
                f->head = (f->head + 1) % BUFFERS;
                f->used--;
                f->held++;
                let_go_locked(f, HELD);
                if (f->used <= BATCH)
                        (void) pthread_cond_signal(&f->emptied);
        }
        let_go_locked(f, 0);
        *ret_stopped = f->stop;
        (void) pthread_mutex_unlock(&f->lock);
        return r;
}

static void *run(void *arg) {
        struct layer_feed *f = arg;
        bool stopped = false;
        struct err err;
        int r = 0;

        (void) pthread_setname_np(pthread_self(), "unpack");
        /* The umask is the process's unless this thread leaves it. */
        if (unshare(CLONE_FS) < 0)
                r = err_sys(&err, errno, "give the unpacking thread a umask of its own");
        else
                (void) umask(0);
        if (r == 0)
                r = take_all(f, &stopped, &err);
        if (r == 0 && !stopped)
                r = f->ops->end(f->userdata, &err);
        if (r < 0) {
                (void) pthread_mutex_lock(&f->lock);
                f->failed = true;
                f->err = err;
                (void) pthread_cond_signal(&f->emptied);
                (void) pthread_mutex_unlock(&f->lock);
        }
        return NULL;
}

int layer_feed_new(const struct layer_feed_ops *ops, void *userdata, struct layer_feed **ret, struct err *err) {
        struct layer_feed *f = xnew(struct layer_feed);

        f->ops = ops;
        f->userdata = userdata;
        (void) pthread_mutex_init(&f->lock, NULL);
        (void) pthread_cond_init(&f->filled, NULL);
        (void) pthread_cond_init(&f->emptied, NULL);
        for (size_t i = 0; i < BUFFERS; i++)
                f->data[i] = xrealloc(NULL, BUFFER_BYTES, 1);
        if (thread_start(STACK_BYTES, run, f, &f->thread) != 0) {
                f->joined = true; /* there is none */
                (void) layer_feed_free(f);
                return err_set(err, ERR_EXHAUSTED, "no thread can be started");
        }
        *ret = f;
        return 0;
}

struct layer_feed *layer_feed_free(struct layer_feed *f) {
        if (!f)
                return NULL;
        if (!f->joined) {
                (void) pthread_mutex_lock(&f->lock);
                f->stop = true;
                (void) pthread_cond_signal(&f->filled);
                (void) pthread_mutex_unlock(&f->lock);
                (void) pthread_join(f->thread, NULL);
        }
        for (size_t i = 0; i < BUFFERS; i++)
                free(f->data[i]);
        (void) pthread_cond_destroy(&f->filled);
        (void) pthread_cond_destroy(&f->emptied);
        (void) pthread_mutex_destroy(&f->lock);
        free(f);
        return NULL;
}

/* The buffer being filled is the one behind those in use: the thread does not touch it. */
static size_t current(const struct layer_feed *f) {
        return (f->head + f->used) % BUFFERS;
}

int layer_feed_reserve(struct layer_feed *f, uint8_t **ret, size_t *ret_room, struct err *err) {
        size_t i;
        bool failed;

        (void) pthread_mutex_lock(&f->lock);
        while (!f->failed && f->used + f->held == BUFFERS)
                (void) pthread_cond_wait(&f->emptied, &f->lock);
        failed = f->failed;
        i = current(f);
        (void) pthread_mutex_unlock(&f->lock);
        if (failed) {
                *err = f->err;
                return -(int) err->code;
        }
        *ret = f->data[i] + f->len[i];
        *ret_room = BUFFER_BYTES - f->len[i];
        return 0;
}

static void hand_over(struct layer_feed *f, bool no_more) {
        (void) pthread_mutex_lock(&f->lock);
        if (f->used + f->held < BUFFERS && f->len[current(f)])
                f->used++;
        f->no_more = no_more;
        if (f->used >= BATCH || no_more)
                (void) pthread_cond_signal(&f->filled);
        (void) pthread_mutex_unlock(&f->lock);
}

void layer_feed_commit(struct layer_feed *f, size_t n) {
        size_t i;

        (void) pthread_mutex_lock(&f->lock);
        i = current(f);
        (void) pthread_mutex_unlock(&f->lock);
        f->len[i] += n;
        if (f->len[i] == BUFFER_BYTES)
                hand_over(f, false);
}

int layer_feed_end(struct layer_feed *f, struct err *err) {
        hand_over(f, true);
        (void) pthread_join(f->thread, NULL);
        f->joined = true;
        if (f->failed) {
                *err = f->err;
                return -(int) err->code;
        }
        return 0;
}
