/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/proxmox/warm.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/str.h"
#include "http/client.h"
#include "runtime/proxmox/discards.h"
#include "runtime/proxmox/ends.h"
#include "runtime/proxmox/process.h"

enum {
        LOSS_PAUSE_MS = 3000, /* somebody who ends them all must not keep us making them */
        QUIET_MS = 1000,      /* while at least half are there it is filled when no pod has come for so long */
        BACK_OFF_FIRST = 2,   /* from a second on, of http_backoff_ms() */
        NAP_MS = 100,
};

struct entry {
        struct warm_ct ct;
        bool taken;
};

struct warm {
        const struct warm_ops *ops;
        void *userdata;
        size_t size;
        int stop_fd;         /* readable: all that is under way ends */
        struct pool *thread; /* that makes */
        struct ends *ends;   /* of those that are ready */
        pthread_mutex_t lock;
        struct entry entries[2 * WARM_MAX]; /* oldest first */
        size_t n, n_ready;
        struct discards *discards;
        bool begun, filling, stopping;
        uint64_t last_take_ns, last_loss_ns;
};

static void fill(void *arg);

/* --- under the lock ----------------------------------------------------------------------------------------------- */

static struct entry *find(struct warm *w, uint32_t vmid) {
        for (size_t i = 0; i < w->n; i++)
                if (w->entries[i].ct.ct.vmid == vmid)
                        return &w->entries[i];
        return NULL;
}

static void drop_entry(struct warm *w, struct entry *e) {
        w->n_ready -= !e->taken;
        w->n--;
        memmove(e, e + 1, (size_t) (w->entries + w->n - e) * sizeof(*e));
}

static void kick(struct warm *w) {
        if (w->stopping)
                return;
        if (w->begun && !w->filling && w->n_ready < w->size)
                w->filling = pool_run(w->thread, fill, w);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

static struct ct_until until_stop(const struct warm *w) {
        return (struct ct_until){ .cancel_fd = w->stop_fd, .deadline_ns = UINT64_MAX };
}

/* Less when the pool ends. */
static void rest(const struct warm *w, unsigned ms) {
        struct err ignored;

        (void) !http_pause(w->stop_fd, UINT64_MAX, ms, &ignored);
}

static bool is_stopping(struct warm *w) {
        bool stopping;

        pthread_mutex_lock(&w->lock);
        stopping = w->stopping;
        pthread_mutex_unlock(&w->lock);
        return stopping;
}

/* --- ends --------------------------------------------------------------------------------------------------------- */

static const char *id_of(uint32_t vmid, char id[ENDS_ID_MAX]) {
        (void) snprintf(id, ENDS_ID_MAX, "%u", vmid);
        return id;
}

static void on_end(const char *id, void *userdata) {
        struct warm *w = userdata;
        uint32_t vmid = (uint32_t) strtoul(id, NULL, 10);
        struct entry *e;

        pthread_mutex_lock(&w->lock);
        e = find(w, vmid);
        if (e && !e->taken) {
                drop_entry(w, e);
                w->last_loss_ns = clock_monotonic_ns();
                discards_add(w->discards, vmid, "");
                log_info("a prepared Proxmox container has ended; another will be made", "vmid", LOG_U64(vmid), NULL);
                kick(w);
        }
        pthread_mutex_unlock(&w->lock);
}

/* False: it has ended. */
static bool watch(struct warm *w, const struct ct *ct) {
        char id[ENDS_ID_MAX];
        struct err err;
        int fd = ct_process_open(ct);

        if (fd < 0)
                return false;
        /* When it can't be watched it is found dead when it is taken. */
        if (ends_watch(w->ends, id_of(ct->vmid, id), fd, &err) < 0)
                log_warn("the end of a prepared Proxmox container will not be noticed", "vmid", LOG_U64(ct->vmid),
                         "error", err.msg, NULL);
        return true;
}

/* --- filling ------------------------------------------------------------------------------------------------------ */

static uint64_t left_ms(uint64_t since_ns, unsigned ms, uint64_t now_ns) {
        uint64_t end = since_ns + ms * 1000000ull;

        return since_ns && end > now_ns ? (end - now_ns) / 1000000 + 1 : 0;
}

/* How long to wait before the next one is made; 0: make it. False: there are enough. */
static bool is_wanting(struct warm *w, unsigned *ret_wait_ms) {
        uint64_t now = clock_monotonic_ns(), wait;
        bool wanting;

        pthread_mutex_lock(&w->lock);
        wanting = w->n_ready < w->size && !w->stopping;
        wait = left_ms(w->last_loss_ns, LOSS_PAUSE_MS, now);
        if (2 * w->n_ready >= w->size)
                wait = MAX_OF(wait, left_ms(w->last_take_ns, QUIET_MS, now));
        w->filling = wanting;
        pthread_mutex_unlock(&w->lock);
        *ret_wait_ms = (unsigned) MIN_OF(wait, (uint64_t) NAP_MS);
        return wanting;
}

static int make_one(struct warm *w, bool look_first, struct err *err) {
        const struct ct_until until = until_stop(w);
        struct warm_ct ct = { 0 };
        int r = look_first ? w->ops->look(&until, w->userdata, err) : 0;

        if (r < 0)
                return r;
        r = w->ops->make(&until, &ct, w->userdata, err);
        if (r == 0)
                warm_adopt(w, &ct);
        else if (ct.ct.vmid)
                warm_discard(w, ct.ct.vmid, "");
        return r;
}

static void fill(void *arg) {
        struct warm *w = arg;
        unsigned failures = 0, wait_ms;

        while (is_wanting(w, &wait_ms)) {
                struct err err;

                if (wait_ms > 0) {
                        rest(w, wait_ms);
                } else if (make_one(w, failures > 0, &err) == 0) {
                        if (failures > 0)
                                log_info("Proxmox containers can be prepared again", NULL);
                        failures = 0;
                } else {
                        if (failures++ == 0 && !is_stopping(w))
                                log_warn("cannot prepare a Proxmox container; it is tried again, and pods wait for "
                                         "theirs meanwhile",
                                         "error", err.msg, NULL);
                        rest(w, http_backoff_ms(failures + BACK_OFF_FIRST));
                }
        }
}

/* --- for the owner ------------------------------------------------------------------------------------------------ */

int warm_new(size_t size, const struct warm_ops *ops, void *userdata, struct warm **ret, struct err *err) {
        _cleanup_(warm_freep) struct warm *w = xnew(struct warm);
        int r;

        pthread_mutex_init(&w->lock, NULL);
        w->ops = ops;
        w->userdata = userdata;
        w->size = MIN_OF(size, (size_t) WARM_MAX);
        w->thread = pool_new("warm", 1, 2);
        w->stop_fd = eventfd(0, EFD_CLOEXEC);
        if (w->stop_fd < 0)
                return err_sys(err, errno, "eventfd");
        w->discards = discards_new(ops->drop, userdata, w->stop_fd);
        r = ends_new(on_end, w, &w->ends, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(w);
        return 0;
}

struct warm *warm_free(struct warm *w) {
        if (!w)
                return NULL;
        pthread_mutex_lock(&w->lock);
        w->stopping = true;
        pthread_mutex_unlock(&w->lock);
        if (w->stop_fd >= 0)
                (void) eventfd_write(w->stop_fd, 1);
        (void) pool_free(w->thread);
        (void) ends_free(w->ends);
        (void) discards_free(w->discards);
        (void) fd_close(w->stop_fd);
        pthread_mutex_destroy(&w->lock);
        free(w);
        return NULL;
}

void warm_begin(struct warm *w) {
        pthread_mutex_lock(&w->lock);
        w->begun = true;
        kick(w);
        pthread_mutex_unlock(&w->lock);
}

bool warm_has_begun(struct warm *w) {
        bool begun;

        pthread_mutex_lock(&w->lock);
        begun = w->begun;
        pthread_mutex_unlock(&w->lock);
        return begun;
}

void warm_adopt(struct warm *w, const struct warm_ct *ct) {
        char id[ENDS_ID_MAX];
        bool room;

        pthread_mutex_lock(&w->lock);
        room = w->n_ready < w->size && w->n < ELEMENTSOF(w->entries) && !find(w, ct->ct.vmid);
        if (room) {
                w->entries[w->n++] = (struct entry){ .ct = *ct };
                w->n_ready++;
        } else if (!find(w, ct->ct.vmid)) {
                discards_add(w->discards, ct->ct.vmid, "");
        }
        pthread_mutex_unlock(&w->lock);
        /* Watched once it is in the table, so that no end is missed. */
        if (room && !watch(w, &ct->ct))
                on_end(id_of(ct->ct.vmid, id), w);
}

bool warm_knows(struct warm *w, uint32_t vmid) {
        bool known;

        pthread_mutex_lock(&w->lock);
        known = find(w, vmid) || discards_has(w->discards, vmid);
        pthread_mutex_unlock(&w->lock);
        return known;
}

void warm_discard(struct warm *w, uint32_t vmid, const char *pod_id) {
        discards_add(w->discards, vmid, pod_id);
}

/* --- taking ------------------------------------------------------------------------------------------------------- */

static bool take_oldest(struct warm *w, struct warm_ct *ret) {
        bool got = false;

        pthread_mutex_lock(&w->lock);
        for (size_t i = 0; i < w->n && !got; i++) {
                if (w->entries[i].taken)
                        continue;
                w->entries[i].taken = got = true;
                w->n_ready--;
                w->last_take_ns = clock_monotonic_ns();
                *ret = w->entries[i].ct;
        }
        pthread_mutex_unlock(&w->lock);
        return got;
}

bool warm_take(struct warm *w, struct warm_ct *ret) {
        char id[ENDS_ID_MAX];

        while (take_oldest(w, ret)) {
                ends_forget(w->ends, id_of(ret->ct.vmid, id));
                if (!ct_has_ended(&ret->ct))
                        return true;
                warm_spoilt(w, ret->ct.vmid, "");
        }
        return false;
}

static void end_take(struct warm *w, uint32_t vmid, const char *discard_for) {
        struct entry *e;

        pthread_mutex_lock(&w->lock);
        e = find(w, vmid);
        if (e)
                drop_entry(w, e);
        if (discard_for)
                discards_add(w->discards, vmid, discard_for);
        kick(w);
        pthread_mutex_unlock(&w->lock);
}

void warm_taken(struct warm *w, uint32_t vmid) {
        end_take(w, vmid, NULL);
}

void warm_spoilt(struct warm *w, uint32_t vmid, const char *pod_id) {
        end_take(w, vmid, pod_id);
}

void warm_give_back(struct warm *w, uint32_t vmid) {
        struct warm_ct ct = { 0 };
        struct entry *e;

        pthread_mutex_lock(&w->lock);
        e = find(w, vmid);
        if (e) {
                ct = e->ct;
                drop_entry(w, e);
        }
        pthread_mutex_unlock(&w->lock);
        if (ct.ct.vmid)
                warm_adopt(w, &ct);
}

struct warm_counts warm_count(struct warm *w) {
        struct warm_counts c;

        pthread_mutex_lock(&w->lock);
        c = (struct warm_counts){ .size = w->size, .ready = w->n_ready };
        pthread_mutex_unlock(&w->lock);
        return c;
}
