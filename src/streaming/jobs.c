/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/jobs.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include "base/alloc.h"

struct jobs {
        atomic_uint refs;
        struct pool *pool;
        int wake_fd;
        pthread_mutex_t lock; /* of what follows */
        struct job *ended, **last;
        bool closed;
};

int jobs_new(struct pool *pool, struct jobs **ret, struct err *err) {
        struct jobs *s = xnew(struct jobs);

        s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (s->wake_fd < 0) {
                free(s);
                return err_sys(err, errno, "create eventfd");
        }
        atomic_init(&s->refs, 1);
        (void) pthread_mutex_init(&s->lock, NULL);
        s->pool = pool;
        s->last = &s->ended;
        *ret = s;
        return 0;
}

static void unref(struct jobs *s) {
        if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
                return;
        s->wake_fd = fd_close(s->wake_fd);
        (void) pthread_mutex_destroy(&s->lock);
        free(s);
}

static void release(struct job *j) {
        struct jobs *s = j->jobs;

        j->cancel_fd = fd_close(j->cancel_fd);
        j->release(j);
        unref(s);
}

static struct job *take(struct jobs *s) {
        struct job *j;

        (void) pthread_mutex_lock(&s->lock);
        j = s->ended;
        if (j) {
                s->ended = j->next;
                if (!s->ended)
                        s->last = &s->ended;
        }
        (void) pthread_mutex_unlock(&s->lock);
        return j;
}

struct jobs *jobs_close(struct jobs *s) {
        struct job *j;

        if (!s)
                return NULL;
        (void) pthread_mutex_lock(&s->lock);
        s->closed = true;
        (void) pthread_mutex_unlock(&s->lock);
        while ((j = take(s)))
                release(j);
        unref(s);
        return NULL;
}

int jobs_wake_fd(const struct jobs *s) {
        return s->wake_fd;
}

void jobs_collect(struct jobs *s) {
        uint64_t count;
        struct job *j;

        (void) !read(s->wake_fd, &count, sizeof(count));
        while ((j = take(s))) {
                if (j->owner)
                        j->done(j, j->owner, j->result);
                release(j);
        }
}

static void run(void *arg) {
        struct job *j = arg;
        struct jobs *s = j->jobs;
        uint64_t one = 1;
        bool closed;

        j->result = j->run(j, &j->err);
        (void) pthread_mutex_lock(&s->lock);
        closed = s->closed;
        if (!closed) {
                j->next = NULL;
                *s->last = j;
                s->last = &j->next;
                (void) !write(s->wake_fd, &one, sizeof(one));
        }
        (void) pthread_mutex_unlock(&s->lock);
        if (closed)
                release(j);
}

int job_start(struct jobs *s, struct job *j, struct err *err) {
        int r = 0;

        j->jobs = s;
        (void) atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
        j->cancel_fd = eventfd(0, EFD_CLOEXEC);
        if (j->cancel_fd < 0)
                r = err_sys(err, errno, "create eventfd");
        else if (!pool_run(s->pool, run, j))
                r = err_set(err, ERR_EXHAUSTED, "too many streaming sessions at once; try again later");
        if (r < 0)
                release(j);
        return r;
}

void job_abandon(struct job *j) {
        uint64_t one = 1;

        if (!j)
                return;
        j->owner = NULL;
        (void) !write(j->cancel_fd, &one, sizeof(one));
}
