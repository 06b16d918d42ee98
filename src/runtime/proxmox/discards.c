/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/proxmox/discards.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/pool.h"
#include "http/client.h"
#include "runtime/proxmox/claim.h"

struct item {
        struct item *next;
        uint32_t vmid;
        char pod_id[CLAIM_ID_LEN + 1];
};

struct discards {
        discards_drop_fn drop;
        void *userdata;
        int stop_fd;
        struct pool *thread;
        pthread_mutex_t lock;
        struct item *waiting, *current;
        bool working, stopping;
};

struct discards *discards_new(discards_drop_fn drop, void *userdata, int stop_fd) {
        struct discards *d = xnew(struct discards);

        d->drop = drop;
        d->userdata = userdata;
        d->stop_fd = stop_fd;
        d->thread = pool_new("discard", 1, 2);
        pthread_mutex_init(&d->lock, NULL);
        return d;
}

struct discards *discards_free(struct discards *d) {
        struct item *item;

        if (!d)
                return NULL;
        pthread_mutex_lock(&d->lock);
        d->stopping = true;
        pthread_mutex_unlock(&d->lock);
        (void) pool_free(d->thread);
        while ((item = d->waiting)) {
                d->waiting = item->next;
                free(item);
        }
        pthread_mutex_destroy(&d->lock);
        free(d);
        return NULL;
}

/* The lock is held. */
static bool has(const struct discards *d, uint32_t vmid) {
        for (const struct item *item = d->waiting; item; item = item->next)
                if (item->vmid == vmid)
                        return true;
        return d->current && d->current->vmid == vmid;
}

bool discards_has(struct discards *d, uint32_t vmid) {
        bool found;

        pthread_mutex_lock(&d->lock);
        found = has(d, vmid);
        pthread_mutex_unlock(&d->lock);
        return found;
}

/* The lock is held. */
static void append(struct discards *d, struct item *item) {
        struct item **at = &d->waiting;

        while (*at)
                at = &(*at)->next;
        item->next = NULL;
        *at = item;
}

static struct item *next(struct discards *d) {
        struct item *item;

        pthread_mutex_lock(&d->lock);
        item = d->stopping ? NULL : d->waiting;
        if (item)
                d->waiting = item->next;
        d->current = item;
        d->working = item != NULL;
        pthread_mutex_unlock(&d->lock);
        return item;
}

/* Not done: behind the others. False: the daemon ends. */
static bool finish(struct discards *d, struct item *item, bool done) {
        bool stopping;

        pthread_mutex_lock(&d->lock);
        d->current = NULL;
        if (done)
                free(item);
        else
                append(d, item);
        stopping = d->stopping;
        pthread_mutex_unlock(&d->lock);
        return !stopping;
}

static void work(void *arg) {
        struct discards *d = arg;
        const struct ct_until until = { .cancel_fd = d->stop_fd, .deadline_ns = UINT64_MAX };
        unsigned failures = 0;
        struct item *item;

        while ((item = next(d))) {
                uint32_t vmid = item->vmid;
                struct err err, ignored;
                int r = d->drop(vmid, item->pod_id, &until, d->userdata, &err);

                if (finish(d, item, r == 0) && r < 0 && failures++ == 0)
                        log_warn("cannot remove a Proxmox container; it is tried again", "vmid", LOG_U64(vmid), "error",
                                 err.msg, NULL);
                if (r == 0)
                        failures = 0;
                else
                        (void) !http_pause(d->stop_fd, UINT64_MAX, http_backoff_ms(failures), &ignored);
        }
}

void discards_add(struct discards *d, uint32_t vmid, const char *pod_id) {
        struct item *item;

        pthread_mutex_lock(&d->lock);
        if (!has(d, vmid)) {
                item = xnew(struct item);
                item->vmid = vmid;
                (void) snprintf(item->pod_id, sizeof(item->pod_id), "%s", pod_id);
                append(d, item);
        }
        if (d->waiting && !d->working && !d->stopping)
                d->working = pool_run(d->thread, work, d);
        pthread_mutex_unlock(&d->lock);
}
