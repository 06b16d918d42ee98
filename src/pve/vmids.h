/* SPDX-License-Identifier: Apache-2.0 */
/* vmids - numbers for new containers, from a range that is ours. What the cluster has is a hint only, asked for rarely;
 * whether a number is free shows when a container is made with it, and then the next one is tried. Numbers go round,
 * from a random start, so that one that was just given back is not used again soon. Thread-safe. */
#pragma once
#include "pve/pve.h"

enum { VMIDS_MAX = 100000 };

struct vmids;

/* @first to @last, both included. ERR_INVALID. */
_must_use_ int vmids_new(unsigned first, unsigned last, struct vmids **ret, struct err *err);
struct vmids *vmids_free(struct vmids *v);
DEFINE_CLEANUP(struct vmids *, vmids_free)

/* A number that is nobody's as far as we know; the caller's until vmids_give_back(). ERR_EXHAUSTED when there is none.
 */
_must_use_ int vmids_take(struct vmids *v, struct pve *p, const struct pve_until *until, unsigned *ret,
                          struct err *err);
/* The container @vmid was not made, or is gone. */
void vmids_give_back(struct vmids *v, unsigned vmid);
/* @vmid, which was the caller's, is somebody else's: not given out for ten minutes. */
void vmids_mark_taken(struct vmids *v, unsigned vmid);

/* Makes a container: @create with one number after the other as long as it is refused with PVE_EXISTS. @ret: the
 * number, the caller's as above. */
_must_use_ int vmids_create(struct vmids *v, struct pve *p, const struct pve_until *until,
                            int (*create)(struct pve *p, unsigned vmid, void *userdata, struct err *err),
                            void *userdata, unsigned *ret, struct err *err);
