/* SPDX-License-Identifier: Apache-2.0 */
/* warm - the pool of CTs that run before a pod asks for one: kept at its size by a thread in the background, and rid of
 * what can't be used by another. It knows nothing of Proxmox' API: what is done to a CT is its owner's
 * business (struct warm_ops). Thread-safe.
 *
 * A CT is either ready, or taken (a pod is about to get it), or none of the pool's; no two get the same. */
#pragma once
#include "runtime/proxmox/discards.h"

enum { WARM_MAX = 64, WARM_DIGEST_MAX = 64 };

/* One that runs and is as it was made. */
struct warm_ct {
        struct ct ct;
        char digest[WARM_DIGEST_MAX]; /* of its configuration then */
};

/* In threads of the pool's, which may block; @until ends when the pool does. */
struct warm_ops {
        /* Makes and starts one, when that holds up no pod. On failure @ret->ct.vmid may name what is left of it. */
        int (*make)(const struct ct_until *until, struct warm_ct *ret, void *userdata, struct err *err);
        /* Looks for those that warm_knows() none of, after a failure that may have left one; to be given to
         * warm_adopt() or warm_discard(). Nothing is made meanwhile. */
        int (*look)(const struct ct_until *until, void *userdata, struct err *err);
        discards_drop_fn drop;
};

struct warm;

_must_use_ int warm_new(size_t size, const struct warm_ops *ops, void *userdata, struct warm **ret, struct err *err);
struct warm *warm_free(struct warm *w); /* what is under way is given up, CTs live on */
DEFINE_CLEANUP(struct warm *, warm_free)

/* From now on it is filled: all that there were from before have been adopted or discarded. Once more: fine. */
void warm_begin(struct warm *w);
bool warm_has_begun(struct warm *w);
/* One of the pool's from now on; discarded when there are enough, or it runs no more. */
void warm_adopt(struct warm *w, const struct warm_ct *ct);
/* Is it ready, taken, or about to be discarded? */
bool warm_knows(struct warm *w, uint32_t vmid);
/* To be removed in the background, tried until it is done. */
void warm_discard(struct warm *w, uint32_t vmid, const char *pod_id);

/* The one that waits longest, which runs; false: none. To be given to one of the three below. */
bool warm_take(struct warm *w, struct warm_ct *ret);
void warm_taken(struct warm *w, uint32_t vmid);                      /* it is the pod's now */
void warm_spoilt(struct warm *w, uint32_t vmid, const char *pod_id); /* it can't be used: discarded */
void warm_give_back(struct warm *w, uint32_t vmid);                  /* nothing was done to it */

struct warm_counts {
        size_t size, ready;
};
struct warm_counts warm_count(struct warm *w);
