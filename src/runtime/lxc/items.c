/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lxc/items.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"

struct item *item_new(const char *id, const char *cgroup_path, const char *log_path) {
        struct item *i = xnew(struct item);

        (void) snprintf(i->id, sizeof(i->id), "%s", id);
        i->cgroup_path = xstrdup(cgroup_path);
        i->log_path = xstrdup(log_path ? log_path : "");
        i->init_fd = i->dirfd = -1;
        i->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (i->ended_fd < 0)
                log_error("cannot create an eventfd", "error", strerror(errno), NULL);
        i->refs = 1;
        return i;
}

static void item_free(struct item *i) {
        free(i->cgroup_path);
        free(i->log_path);
        (void) fd_close(i->init_fd);
        (void) fd_close(i->dirfd);
        (void) fd_close(i->ended_fd);
        free(i);
}

bool item_has_ended(const struct item *i) {
        struct pollfd p = { .fd = i->ended_fd, .events = POLLIN };

        return poll(&p, 1, 0) == 1;
}

void item_set_ended(struct item *i) {
        uint64_t one = 1;

        if (write(i->ended_fd, &one, sizeof(one)) < 0) {
                /* can't be full: written once or twice */
        }
}

bool item_wait_ended(const struct item *i, int timeout_ms, int cancel_fd) {
        struct pollfd fds[] = { { .fd = i->ended_fd, .events = POLLIN }, { .fd = cancel_fd, .events = POLLIN } };
        uint64_t deadline = clock_monotonic_ns() + (uint64_t) MAX_OF(timeout_ms, 0) * 1000000, now;
        int left = timeout_ms;

        for (;;) {
                if (poll(fds, 2, left) < 0 && errno != EINTR)
                        return false;
                if (fds[0].revents)
                        return true;
                if (fds[1].revents)
                        return false;
                if (timeout_ms < 0)
                        continue;
                now = clock_monotonic_ns();
                if (now >= deadline)
                        return false;
                left = (int) ((deadline - now) / 1000000 + 1);
        }
}

void items_init(struct items *t) {
        (void) pthread_mutex_init(&t->lock, NULL);
        t->map = map_new();
}

void items_done(struct items *t) {
        struct item *i;

        for (size_t it = 0; map_next(t->map, &it, NULL, (void **) &i);)
                item_free(i);
        t->map = map_free(t->map);
        (void) pthread_mutex_destroy(&t->lock);
}

void items_add(struct items *t, struct item *i) {
        (void) pthread_mutex_lock(&t->lock);
        (void) map_set(t->map, i->id, i);
        i->refs++;
        (void) pthread_mutex_unlock(&t->lock);
}

struct item *items_get(struct items *t, const char *id) {
        struct item *i;

        (void) pthread_mutex_lock(&t->lock);
        i = map_get(t->map, id);
        if (i)
                i->refs++;
        (void) pthread_mutex_unlock(&t->lock);
        return i;
}

struct item **items_get_all(struct items *t, size_t *ret_n) {
        struct item **all, *i;
        size_t n = 0;

        (void) pthread_mutex_lock(&t->lock);
        all = xcalloc(map_size(t->map) + 1, sizeof(struct item *));
        for (size_t it = 0; map_next(t->map, &it, NULL, (void **) &i);) {
                i->refs++;
                all[n++] = i;
        }
        (void) pthread_mutex_unlock(&t->lock);
        *ret_n = n;
        return all;
}

void items_remove(struct items *t, struct item *i) {
        (void) pthread_mutex_lock(&t->lock);
        if (map_get(t->map, i->id) == i) {
                (void) map_take(t->map, i->id);
                i->refs--;
        }
        (void) pthread_mutex_unlock(&t->lock);
}

void items_unref(struct items *t, struct item *i) {
        bool last;

        if (!i)
                return;
        (void) pthread_mutex_lock(&t->lock);
        last = --i->refs == 0;
        (void) pthread_mutex_unlock(&t->lock);
        if (last)
                item_free(i);
}
