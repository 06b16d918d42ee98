/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/layer-usage.h"

#include <sys/resource.h>
#include "base/log.h"
#include "pod/own-layer.h"

enum { MIN_AGE_MS = 10000, REST_FACTOR = 20, NICE = 10 };

bool layer_usage_get(struct container *c, struct layer_usage *ret) {
        struct container_sample *s = &c->sample;

        pthread_mutex_lock(&s->lock);
        *ret = (struct layer_usage){ s->layer_at_ns, s->layer_bytes, s->layer_inodes };
        pthread_mutex_unlock(&s->lock);
        return ret->at_ns != 0;
}

static void measure(struct container *c) {
        struct container_sample *s = &c->sample;
        uint64_t began_ns = clock_monotonic_ns(), took_ns, bytes, inodes;
        struct err err;
        int r = own_layer_measure(c, &bytes, &inodes, &err);

        /* Removed, or the daemon ends; the next try comes anyway. */
        if (r < 0 && r != -ERR_NOT_FOUND && r != -ERR_CANCELLED)
                log_debug("cannot measure a container's layer", "container", c->id, "error", err.msg, NULL);
        took_ns = clock_monotonic_ns() - began_ns;
        pthread_mutex_lock(&s->lock);
        if (r == 0) {
                s->layer_bytes = bytes;
                s->layer_inodes = inodes;
                s->layer_at_ns = clock_realtime_ns();
        }
        s->layer_next_ns = clock_monotonic_ns() + MAX_OF((uint64_t) MIN_AGE_MS * 1000000, took_ns * REST_FACTOR);
        s->layer_measuring = false;
        pthread_mutex_unlock(&s->lock);
}

static void measure_job(void *arg) {
        struct container *c = arg;

        /* Of this thread alone, which does nothing else. */
        (void) setpriority(PRIO_PROCESS, 0, NICE);
        measure(c);
        container_unref(c);
}

void layer_usage_refresh(struct container *c) {
        struct container_sample *s = &c->sample;
        bool due;

        pthread_mutex_lock(&s->lock);
        due = !s->layer_measuring && clock_monotonic_ns() >= s->layer_next_ns;
        if (due)
                s->layer_measuring = true;
        pthread_mutex_unlock(&s->lock);
        if (!due || registry_measure(c->pods, measure_job, container_ref(c)))
                return;
        pthread_mutex_lock(&s->lock);
        s->layer_measuring = false;
        pthread_mutex_unlock(&s->lock);
        container_unref(c);
}
