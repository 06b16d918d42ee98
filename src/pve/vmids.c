/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/vmids.h"

#include <pthread.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "base/str.h"
#include "pve/ct.h"

enum { CONFLICTS_MAX = 100, HINT_S = 600, TRIES_MAX = 200 };

/* TAKEN: showed when it was tried; SEEN: the cluster said so. */
enum state { FREE, OURS, TAKEN, SEEN };

struct vmids {
        pthread_mutex_t lock;
        unsigned first, n, next;
        unsigned char *states; /* enum state of first + i */
        uint64_t hint_ns;      /* when the cluster was asked, and what was taken forgotten; 0: never */
        unsigned conflicts;    /* since then */
};

int vmids_new(unsigned first, unsigned last, struct vmids **ret, struct err *err) {
        struct vmids *v;

        if (first < PVE_VMID_MIN || last > PVE_VMID_MAX || first > last || last - first >= VMIDS_MAX)
                return err_set(err, ERR_INVALID,
                               "%u to %u is no range for containers' numbers: from %d on, and %d at most", first, last,
                               PVE_VMID_MIN, VMIDS_MAX);
        v = xnew(struct vmids);
        (void) pthread_mutex_init(&v->lock, NULL);
        v->first = first;
        v->n = last - first + 1;
        v->next = arc4random_uniform(v->n);
        v->states = xcalloc(v->n, 1);
        *ret = v;
        return 0;
}

struct vmids *vmids_free(struct vmids *v) {
        if (!v)
                return NULL;
        (void) pthread_mutex_destroy(&v->lock);
        free(v->states);
        free(v);
        return NULL;
}

/* One that is not of the range was, before somebody changed the configuration. */
static void mark(struct vmids *v, unsigned vmid, enum state state) {
        if (vmid < v->first || vmid - v->first >= v->n)
                return;
        (void) pthread_mutex_lock(&v->lock);
        v->states[vmid - v->first] = (unsigned char) state;
        v->conflicts += state == TAKEN;
        (void) pthread_mutex_unlock(&v->lock);
}

void vmids_give_back(struct vmids *v, unsigned vmid) {
        mark(v, vmid, FREE);
}

void vmids_mark_taken(struct vmids *v, unsigned vmid) {
        mark(v, vmid, TAKEN);
}

static bool is_old(const struct vmids *v) {
        return !v->hint_ns || clock_monotonic_ns() - v->hint_ns >= HINT_S * 1000000000ull;
}

/* The lock is held. There may be guests that we are not shown: what was taken stays so for a while. */
static void use_hint(struct vmids *v, const json_t *guests) {
        bool forget = is_old(v);
        const json_t *guest;
        uint64_t vmid;
        size_t i;

        for (i = 0; i < v->n; i++)
                if (v->states[i] == SEEN || (v->states[i] == TAKEN && forget))
                        v->states[i] = FREE;
        json_array_foreach(guests, i, guest) {
                if (!pve_json_u64(guest, "vmid", &vmid) || vmid < v->first || vmid - v->first >= v->n)
                        continue;
                if (v->states[vmid - v->first] == FREE)
                        v->states[vmid - v->first] = SEEN;
        }
        if (forget)
                v->hint_ns = clock_monotonic_ns();
        v->conflicts = 0;
}

/* Of virtual machines, too: they have numbers of the same range. */
static int ask(struct vmids *v, struct pve *p, const struct pve_until *until, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const struct pve_request req = { .path = "/cluster/resources", .params = &params, .until = until };
        _cleanup_(json_unrefp) json_t *answer = NULL;
        int r;

        pve_param(&params, "type", "vm");
        r = pve_call(p, &req, &answer, err);
        if (r < 0)
                return err_wrap(err, "see which containers' numbers are free");
        (void) pthread_mutex_lock(&v->lock);
        use_hint(v, json_object_get(answer, "data"));
        (void) pthread_mutex_unlock(&v->lock);
        return 0;
}

/* False: there is none, or the hint is too old to look. */
static bool take(struct vmids *v, bool any_hint, unsigned *ret) {
        bool found = false, fresh;

        (void) pthread_mutex_lock(&v->lock);
        fresh = !is_old(v) && v->conflicts < CONFLICTS_MAX;
        for (unsigned i = 0; (fresh || any_hint) && !found && i < v->n; i++) {
                unsigned at = (v->next + i) % v->n;

                found = v->states[at] == FREE;
                if (found) {
                        v->states[at] = OURS;
                        v->next = at + 1;
                        *ret = v->first + at;
                }
        }
        (void) pthread_mutex_unlock(&v->lock);
        return found;
}

int vmids_take(struct vmids *v, struct pve *p, const struct pve_until *until, unsigned *ret, struct err *err) {
        int r;

        if (take(v, false, ret))
                return 0;
        r = ask(v, p, until, err);
        if (r < 0)
                return r;
        if (take(v, true, ret))
                return 0;
        return err_set(err, ERR_EXHAUSTED, "all containers' numbers from %u to %u are in use: widen the range",
                       v->first, v->first + v->n - 1);
}

int vmids_create(struct vmids *v, struct pve *p, const struct pve_until *until,
                 int (*create)(struct pve *p, unsigned vmid, void *userdata, struct err *err), void *userdata,
                 unsigned *ret, struct err *err) {
        unsigned vmid;
        int r;

        for (unsigned i = 0;; i++) {
                r = vmids_take(v, p, until, &vmid, err);
                if (r < 0)
                        return r;
                r = create(p, vmid, userdata, err);
                if (r == 0) {
                        *ret = vmid;
                        return 0;
                }
                /* It may have been made, whatever went wrong: not to be used before the cluster was asked again. */
                vmids_mark_taken(v, vmid);
                if (pve_kind(err) != PVE_EXISTS)
                        return r;
                if (i == TRIES_MAX)
                        return err_wrap(err, "%u containers' numbers in a row are taken, though we can't see by whom",
                                        i);
        }
}
