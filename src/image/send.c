/* SPDX-License-Identifier: Apache-2.0 */
#include "image/send.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "base/thread.h"

enum { REPORT_MS = 100, STACK_BYTES = 1024 * 1024, THREADS_MAX = 16 };

struct sending {
        const struct send_args *args;
        pthread_mutex_t lock; /* guards what follows */
        size_t next;          /* the first that no thread has taken up */
        bool failed;
        struct err first_err;
};

struct job {
        struct sending *all;
        size_t number;
        uint64_t done, reported_ns;
        struct blob_reader reader; /* what it reads by */
};

static void report(struct job *j, int state) {
        const struct send_args *args = j->all->args;
        const struct send_blob *blob = &args->blobs[j->number];
        const struct image_progress p = { .digest = blob->digest,
                                          .total_bytes = blob->size,
                                          .done_bytes =
                                                  state >= LAYER_DONE && state <= LAYER_MOUNTED ? blob->size : j->done,
                                          .state = state };

        j->reported_ns = clock_monotonic_ns();
        if (args->progress)
                args->progress(&p, j->number, args->n, args->progress_userdata);
}

static int seek(uint64_t offset, void *userdata, struct err *err) {
        struct job *j = userdata;
        int r = 0;

        if (!j->reader.read) /* a blob that is there, or mounted, is never opened */
                r = j->all->args->open(&j->all->args->blobs[j->number], &j->reader, j->all->args->userdata, err);
        return r == 0 ? j->reader.seek(offset, j->reader.userdata, err) : r;
}

static int read_some(void *data, size_t size, size_t *ret_len, void *userdata, struct err *err) {
        struct job *j = userdata;

        return j->reader.read(data, size, ret_len, j->reader.userdata, err);
}

static void sent(uint64_t done, void *userdata) {
        struct job *j = userdata;

        j->done = done;
        if (clock_monotonic_ns() - j->reported_ns >= REPORT_MS * 1000000ull)
                report(j, LAYER_UPLOADING);
}

static int send_one(struct sending *all, size_t i, struct err *err) {
        static const int states[] = {
                [UPLOAD_SENT] = LAYER_DONE, [UPLOAD_EXISTS] = LAYER_EXISTS, [UPLOAD_MOUNTED] = LAYER_MOUNTED
        };
        struct job j = { .all = all, .number = i };
        const struct blob_reader reader = { seek, read_some, sent, &j };
        const struct send_args *args = all->args;
        const struct send_blob *blob = &args->blobs[i];
        enum upload_outcome outcome;
        int r = upload_blob(args->to, blob->digest, blob->size, args->mount_from, &reader, &outcome, err);

        if (r == -ERR_DATA_LOSS && j.reader.read && args->damaged && args->damaged(blob, &j.reader, args->userdata)) {
                args->close(&j.reader);
                j.reader = (struct blob_reader){ 0 };
                r = upload_blob(args->to, blob->digest, blob->size, args->mount_from, &reader, &outcome, err);
        }
        if (j.reader.read)
                args->close(&j.reader);
        if (r == 0)
                report(&j, states[outcome]);
        return r;
}

static void *worker(void *arg) {
        struct sending *all = arg;
        struct err err;

        (void) pthread_setname_np(pthread_self(), "upload");
        (void) pthread_mutex_lock(&all->lock);
        while (!all->failed && all->next < all->args->n) {
                size_t i = all->next++;
                int r;

                (void) pthread_mutex_unlock(&all->lock);
                r = send_one(all, i, &err);
                (void) pthread_mutex_lock(&all->lock);
                /* What fails after it is only cancelled. */
                if (r < 0 && !all->failed) {
                        all->failed = true;
                        all->first_err = err;
                        (void) eventfd_write(all->args->cancel_fd, 1);
                }
        }
        (void) pthread_mutex_unlock(&all->lock);
        return NULL;
}

int send_blobs(const struct send_args *args, struct err *err) {
        struct sending all = { .args = args, .lock = PTHREAD_MUTEX_INITIALIZER };
        size_t max = MIN_OF(MIN_OF((size_t) args->max_parallel, args->n), (size_t) THREADS_MAX), n = 0;
        pthread_t threads[THREADS_MAX];

        for (size_t i = 0; i < args->n; i++)
                report(&(struct job){ .all = &all, .number = i }, LAYER_WAITING);
        while (n < max && thread_start(STACK_BYTES, worker, &all, &threads[n]) == 0)
                n++;
        if (n == 0)
                (void) worker(&all);
        while (n > 0)
                (void) pthread_join(threads[--n], NULL);
        (void) pthread_mutex_destroy(&all.lock);
        if (!all.failed)
                return 0;
        *err = all.first_err;
        return -(int) err->code;
}
