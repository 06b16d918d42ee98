/* SPDX-License-Identifier: Apache-2.0 */
#include "image/claims.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>
#include "base/alloc.h"
#include "base/map.h"

enum { CANCEL_CHECK_MS = 100 };

struct claims {
        pthread_mutex_t lock;
        pthread_cond_t dropped;
        struct map *map; /* chain id -> the claims themselves: only presence counts */
};

struct claims *claims_new(void) {
        struct claims *c = xnew(struct claims);
        pthread_condattr_t attr;

        (void) pthread_mutex_init(&c->lock, NULL);
        (void) pthread_condattr_init(&attr);
        (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        (void) pthread_cond_init(&c->dropped, &attr);
        (void) pthread_condattr_destroy(&attr);
        c->map = map_new();
        return c;
}

struct claims *claims_free(struct claims *c) {
        if (!c)
                return NULL;
        assert(map_size(c->map) == 0);
        (void) map_free(c->map);
        (void) pthread_cond_destroy(&c->dropped);
        (void) pthread_mutex_destroy(&c->lock);
        free(c);
        return NULL;
}

static bool is_readable(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        return fd >= 0 && poll(&p, 1, 0) > 0;
}

bool claims_take(struct claims *c, const char *chain_id, int cancel_fd) {
        struct timespec until;
        bool taken = true;

        (void) pthread_mutex_lock(&c->lock);
        while (map_get(c->map, chain_id)) {
                if (is_readable(cancel_fd)) {
                        taken = false;
                        break;
                }
                (void) clock_gettime(CLOCK_MONOTONIC, &until);
                until.tv_nsec += CANCEL_CHECK_MS * 1000000L;
                until.tv_sec += until.tv_nsec / 1000000000L;
                until.tv_nsec %= 1000000000L;
                (void) pthread_cond_timedwait(&c->dropped, &c->lock, &until);
        }
        if (taken)
                (void) map_set(c->map, chain_id, c);
        (void) pthread_mutex_unlock(&c->lock);
        return taken;
}

void claims_drop(struct claims *c, const char *chain_id) {
        (void) pthread_mutex_lock(&c->lock);
        (void) map_take(c->map, chain_id);
        (void) pthread_cond_broadcast(&c->dropped);
        (void) pthread_mutex_unlock(&c->lock);
}
