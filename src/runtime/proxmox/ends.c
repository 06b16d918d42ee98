/* SPDX-License-Identifier: Apache-2.0 */
/* ends - see ends.h. */
#include "runtime/proxmox/ends.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"

struct entry {
        char id[ENDS_ID_MAX];
        int pidfd;
        uint64_t number;
};

struct ends {
        void (*ended)(const char *id, void *userdata);
        void *userdata;
        int epoll_fd, stop_fd;
        pthread_t thread;
        pthread_mutex_t lock;
        struct map *entries; /* by id */
        uint64_t last_number;
};

static struct entry *entry_free(struct entry *e) {
        (void) fd_close(e->pidfd); /* and so out of the epoll */
        free(e);
        return NULL;
}

static struct entry *find(struct ends *e, uint64_t number) {
        struct entry *x;

        for (size_t it = 0; map_next(e->entries, &it, NULL, (void **) &x);)
                if (x->number == number)
                        return x;
        return NULL;
}

/* An event may be older than a change of the table: the number says of which entry it is. */
static void tell(struct ends *e, uint64_t number) {
        char id[ENDS_ID_MAX] = "";
        struct entry *x;

        pthread_mutex_lock(&e->lock);
        x = find(e, number);
        if (x) {
                memcpy(id, x->id, sizeof(id));
                (void) map_take(e->entries, id);
                (void) entry_free(x);
        }
        pthread_mutex_unlock(&e->lock);
        if (id[0])
                e->ended(id, e->userdata);
}

static void *run(void *arg) {
        struct ends *e = arg;
        struct epoll_event events[16];
        int n;

        for (;;) {
                n = epoll_wait(e->epoll_fd, events, ELEMENTSOF(events), -1);
                for (int i = 0; i < n; i++) {
                        if (events[i].data.u64 == 0)
                                return NULL;
                        tell(e, events[i].data.u64);
                }
        }
}

static int add(const struct ends *e, int fd, uint64_t number, struct err *err) {
        struct epoll_event event = { .events = EPOLLIN, .data.u64 = number };

        return epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? err_sys(err, errno, "watch a process") : 0;
}

int ends_new(void (*ended)(const char *id, void *userdata), void *userdata, struct ends **ret, struct err *err) {
        struct ends *e = xnew(struct ends);
        int r;

        e->ended = ended;
        e->userdata = userdata;
        e->entries = map_new();
        pthread_mutex_init(&e->lock, NULL);
        e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        e->stop_fd = eventfd(0, EFD_CLOEXEC);
        r = e->epoll_fd < 0 || e->stop_fd < 0 ? err_sys(err, errno, "make an epoll") : add(e, e->stop_fd, 0, err);
        if (r == 0) {
                int n = pthread_create(&e->thread, NULL, run, e);
                r = n != 0 ? err_sys(err, n, "start a thread") : 0;
        }
        if (r < 0) {
                e->stop_fd = fd_close(e->stop_fd); /* no thread to stop */
                (void) ends_free(e);
                return r;
        }
        *ret = e;
        return 0;
}

struct ends *ends_free(struct ends *e) {
        struct entry *x;

        if (!e)
                return NULL;
        if (e->stop_fd >= 0) {
                (void) eventfd_write(e->stop_fd, 1);
                (void) pthread_join(e->thread, NULL);
        }
        for (size_t it = 0; map_next(e->entries, &it, NULL, (void **) &x);)
                (void) entry_free(x);
        map_free(e->entries);
        (void) fd_close(e->stop_fd);
        (void) fd_close(e->epoll_fd);
        pthread_mutex_destroy(&e->lock);
        free(e);
        return NULL;
}

int ends_watch(struct ends *e, const char *id, int pidfd, struct err *err) {
        struct entry *x = xnew(struct entry), *old;
        int r;

        (void) snprintf(x->id, sizeof(x->id), "%s", id);
        x->pidfd = pidfd;
        pthread_mutex_lock(&e->lock);
        old = map_take(e->entries, id);
        x->number = ++e->last_number;
        r = add(e, pidfd, x->number, err);
        if (r == 0)
                (void) map_set(e->entries, x->id, x);
        pthread_mutex_unlock(&e->lock);
        if (old)
                (void) entry_free(old);
        if (r < 0)
                (void) entry_free(x);
        return r;
}

void ends_forget(struct ends *e, const char *id) {
        struct entry *x;

        pthread_mutex_lock(&e->lock);
        x = map_take(e->entries, id);
        pthread_mutex_unlock(&e->lock);
        if (x)
                (void) entry_free(x);
}
