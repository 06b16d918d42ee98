/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/gate.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "pve/pve.h"

struct waiter {
        struct waiter *next;
        int fd;        /* an eventfd, readable once it may go in */
        bool admitted; /* it counts as inside */
};

struct gate {
        struct gate *next;
        char *name;
        unsigned inside;
        struct waiter *first, **last;
};

struct gates {
        pthread_mutex_t lock;
        struct gate *list; /* those with somebody inside */
        unsigned max;
};

struct gates *gates_new(unsigned max_each) {
        struct gates *g = xnew(struct gates);

        (void) pthread_mutex_init(&g->lock, NULL);
        g->max = max_each;
        return g;
}

struct gates *gates_free(struct gates *g) {
        if (!g)
                return NULL;
        if (g->list)
                abort();
        (void) pthread_mutex_destroy(&g->lock);
        free(g);
        return NULL;
}

static struct gate **find(struct gates *g, const char *name) {
        struct gate **at = &g->list;

        while (*at && !str_eq((*at)->name, name))
                at = &(*at)->next;
        return at;
}

static struct gate *add(struct gate **at, const char *name) {
        struct gate *gate = xnew(struct gate);

        gate->name = xstrdup(name);
        gate->last = &gate->first;
        *at = gate;
        return gate;
}

/* The lock is held. The place goes to who waits longest. */
static void leave(struct gates *g, const char *name) {
        struct gate **at = find(g, name), *gate = *at;
        struct waiter *w;

        assert(gate);
        w = gate->first;
        if (w) {
                gate->first = w->next;
                if (!gate->first)
                        gate->last = &gate->first;
                w->admitted = true;
                (void) eventfd_write(w->fd, 1);
        } else if (--gate->inside == 0) {
                *at = gate->next;
                free(gate->name);
                free(gate);
        }
}

void gate_leave(struct gates *g, const char *name) {
        if (!name)
                return;
        (void) pthread_mutex_lock(&g->lock);
        leave(g, name);
        (void) pthread_mutex_unlock(&g->lock);
}

/* The lock is held. */
static void give_up(struct gates *g, const char *name, const struct waiter *w) {
        struct gate *gate = *find(g, name);
        struct waiter **at;

        assert(gate);
        for (at = &gate->first; *at && *at != w;)
                at = &(*at)->next;
        assert(*at);
        *at = w->next;
        if (!*at)
                gate->last = at;
}

static int wait_for(int fd, const struct pve_until *until, struct err *err) {
        struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .fd = until->cancel_fd, .events = POLLIN } };

        for (;;) {
                uint64_t now = clock_monotonic_ns(), left = until->deadline_ns > now ? until->deadline_ns - now : 0;
                int r = poll(p, ELEMENTSOF(p), (int) MIN_OF((left + 999999) / 1000000, (uint64_t) 60000));

                if (r < 0 && errno != EINTR)
                        return err_sys(err, errno, "poll");
                if (r > 0 && p[0].revents)
                        return 0;
                if (r > 0)
                        return err_set(err, ERR_CANCELLED, "cancelled");
                if (clock_monotonic_ns() >= until->deadline_ns)
                        return err_set(err, ERR_DEADLINE, "deadline exceeded");
        }
}

int gate_enter(struct gates *g, const char *name, const struct pve_until *until, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        struct waiter w = { 0 };
        struct gate **at, *gate;
        int r;

        if (!name)
                return 0;
        fd = w.fd = eventfd(0, EFD_CLOEXEC);
        if (fd < 0)
                return err_sys(err, errno, "eventfd");
        (void) pthread_mutex_lock(&g->lock);
        at = find(g, name);
        gate = *at ?: add(at, name);
        if (gate->inside < g->max) {
                gate->inside++;
                (void) pthread_mutex_unlock(&g->lock);
                return 0;
        }
        *gate->last = &w;
        gate->last = &w.next;
        (void) pthread_mutex_unlock(&g->lock);
        r = wait_for(fd, until, err);
        /* Also when it may go in: until then @fd and @w are in use. */
        (void) pthread_mutex_lock(&g->lock);
        if (r < 0 && w.admitted)
                leave(g, name);
        else if (r < 0)
                give_up(g, name, &w);
        (void) pthread_mutex_unlock(&g->lock);
        return r < 0 ? err_wrap(err, "wait for the operations under way at %s", name) : 0;
}
