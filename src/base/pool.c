/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include "base/alloc.h"
#include "base/thread.h"

enum { IDLE_SECONDS = 10, STACK_BYTES = 512 * 1024 };

struct job {
        struct job *next;
        void (*fn)(void *);
        void *arg;
};

struct pool {
        pthread_mutex_t lock;
        pthread_cond_t work, gone;
        struct job *head, **tail;
        size_t queued, idle, threads, max_threads, max_queue;
        bool stopping;
        char name[16];
};

struct pool *pool_new(const char *name, size_t max_threads, size_t max_queue) {
        struct pool *p = xnew(struct pool);
        pthread_condattr_t attr;

        (void) pthread_mutex_init(&p->lock, NULL);
        (void) pthread_condattr_init(&attr);
        (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        (void) pthread_cond_init(&p->work, &attr);
        (void) pthread_condattr_destroy(&attr);
        (void) pthread_cond_init(&p->gone, NULL);
        p->tail = &p->head;
        p->max_threads = max_threads;
        p->max_queue = max_queue;
        (void) snprintf(p->name, sizeof(p->name), "%s", name);
        return p;
}

static void *worker(void *arg) {
        struct pool *p = arg;
        struct timespec until;
        struct job *j;

        (void) pthread_setname_np(pthread_self(), p->name);
        (void) pthread_mutex_lock(&p->lock);
        for (;;) {
                (void) clock_gettime(CLOCK_MONOTONIC, &until);
                until.tv_sec += IDLE_SECONDS;
                p->idle++;
                while (!p->head && !p->stopping)
                        if (pthread_cond_timedwait(&p->work, &p->lock, &until) != 0)
                                break;
                p->idle--;
                j = p->head;
                if (!j)
                        break;
                p->head = j->next;
                if (!p->head)
                        p->tail = &p->head;
                p->queued--;
                (void) pthread_mutex_unlock(&p->lock);
                j->fn(j->arg);
                free(j);
                (void) pthread_mutex_lock(&p->lock);
        }
        p->threads--;
        (void) pthread_cond_broadcast(&p->gone);
        (void) pthread_mutex_unlock(&p->lock);
        return NULL;
}

static bool start_thread(struct pool *p) {
        pthread_t t;

        return thread_start(STACK_BYTES, worker, p, &t) == 0 && pthread_detach(t) == 0;
}

bool pool_run(struct pool *p, void (*fn)(void *), void *arg) {
        struct job *j;
        bool ok = false;

        (void) pthread_mutex_lock(&p->lock);
        if (p->stopping || p->queued >= p->max_queue)
                goto out;
        if (p->queued >= p->idle && p->threads < p->max_threads) {
                p->threads++;
                if (!start_thread(p)) {
                        p->threads--;
                        if (p->threads == 0)
                                goto out;
                }
        }
        j = xnew(struct job);
        j->fn = fn;
        j->arg = arg;
        *p->tail = j;
        p->tail = &j->next;
        p->queued++;
        (void) pthread_cond_signal(&p->work);
        ok = true;
out:
        (void) pthread_mutex_unlock(&p->lock);
        return ok;
}

struct pool *pool_free(struct pool *p) {
        if (!p)
                return NULL;
        (void) pthread_mutex_lock(&p->lock);
        p->stopping = true;
        (void) pthread_cond_broadcast(&p->work);
        while (p->threads)
                (void) pthread_cond_wait(&p->gone, &p->lock);
        (void) pthread_mutex_unlock(&p->lock);
        (void) pthread_mutex_destroy(&p->lock);
        (void) pthread_cond_destroy(&p->work);
        (void) pthread_cond_destroy(&p->gone);
        free(p);
        return NULL;
}
