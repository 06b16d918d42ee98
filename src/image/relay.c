/* SPDX-License-Identifier: Apache-2.0 */
#include "image/relay.h"

#include <pthread.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "base/thread.h"

enum { RING_BYTES = 1 << 20, STACK_BYTES = 512 * 1024 };

struct relay {
        struct source *source;
        const char *digest;
        uint64_t size, from; /* @from: where the thread began */
        pthread_t thread;
        bool running;

        pthread_mutex_t lock; /* guards what follows */
        pthread_cond_t changed;
        size_t head, used;
        uint64_t at; /* the next byte to be read */
        bool stop, ended;
        int result;
        struct err err; /* why the download ended */
        uint8_t *ring;
};

static int fill(const void *data, size_t len, void *userdata, struct err *err) {
        const uint8_t *from = data;
        struct relay *r = userdata;

        (void) pthread_mutex_lock(&r->lock);
        while (len > 0 && !r->stop) {
                size_t tail = (r->head + r->used) % RING_BYTES,
                       n = MIN_OF(len, MIN_OF(RING_BYTES - r->used, RING_BYTES - tail));

                if (n == 0) {
                        (void) pthread_cond_wait(&r->changed, &r->lock);
                        continue;
                }
                memcpy(r->ring + tail, from, n);
                r->used += n;
                from += n;
                len -= n;
                (void) pthread_cond_broadcast(&r->changed);
        }
        (void) pthread_mutex_unlock(&r->lock);
        return len > 0 ? err_set(err, ERR_CANCELLED, "cancelled") : 0;
}

static void *download(void *arg) {
        struct relay *r = arg;
        const struct blob_sink sink = { fill, r, r->from };
        struct err err;
        int result;

        (void) pthread_setname_np(pthread_self(), "relay");
        result = source_get_blob(r->source, r->digest, r->size, &sink, false, &err);
        (void) pthread_mutex_lock(&r->lock);
        r->ended = true;
        r->result = result;
        if (result < 0)
                r->err = err;
        (void) pthread_cond_broadcast(&r->changed);
        (void) pthread_mutex_unlock(&r->lock);
        return NULL;
}

static void end(struct relay *r) {
        if (!r->running)
                return;
        (void) pthread_mutex_lock(&r->lock);
        r->stop = true;
        (void) pthread_cond_broadcast(&r->changed);
        (void) pthread_mutex_unlock(&r->lock);
        (void) pthread_join(r->thread, NULL);
        r->running = false;
}

struct relay *relay_new(struct source *source, const char *digest, uint64_t size) {
        struct relay *r = xnew(struct relay);

        r->source = source;
        r->digest = digest;
        r->size = size;
        r->ring = xcalloc(RING_BYTES, 1);
        (void) pthread_mutex_init(&r->lock, NULL);
        (void) pthread_cond_init(&r->changed, NULL);
        return r;
}

struct relay *relay_free(struct relay *r) {
        if (!r)
                return NULL;
        end(r);
        (void) pthread_cond_destroy(&r->changed);
        (void) pthread_mutex_destroy(&r->lock);
        free(r->ring);
        free(r);
        return NULL;
}

int relay_seek(uint64_t offset, void *userdata, struct err *err) {
        struct relay *r = userdata;
        int e;

        if (r->running && r->at == offset)
                return 0;
        end(r);
        r->from = r->at = offset;
        r->head = r->used = 0;
        r->stop = r->ended = false;
        e = thread_start(STACK_BYTES, download, r, &r->thread);
        if (e != 0)
                return err_sys(err, e, "start a thread");
        r->running = true;
        return 0;
}

int relay_read(void *data, size_t size, size_t *ret_len, void *userdata, struct err *err) {
        struct relay *r = userdata;
        int ret = 0;
        size_t n;

        (void) pthread_mutex_lock(&r->lock);
        while (r->used == 0 && !r->ended)
                (void) pthread_cond_wait(&r->changed, &r->lock);
        n = MIN_OF(size, MIN_OF(r->used, RING_BYTES - r->head));
        memcpy(data, r->ring + r->head, n);
        r->head = (r->head + n) % RING_BYTES;
        r->used -= n;
        r->at += n;
        if (n == 0 && r->result < 0) {
                *err = r->err;
                ret = err_wrap(err, "fetch it");
        } else if (n == 0) {
                ret = err_set(err, ERR_DATA_LOSS, "it ended too early");
        }
        (void) pthread_cond_broadcast(&r->changed);
        (void) pthread_mutex_unlock(&r->lock);
        *ret_len = n;
        return ret;
}
