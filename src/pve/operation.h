/* SPDX-License-Identifier: Apache-2.0 */
/* operation - a request that changes something, to its end: in line with the others at its node and storage, its task
 * waited for, tried again while somebody else has the lock, and settled when its answer was lost. */
#pragma once
#include "pve/pve.h"

/* Where an operation stands in line. What takes minutes must not hold up what takes a moment. */
enum pve_line {
        PVE_LINE_SHORT,
        PVE_LINE_LONG, /* backups, copies, migrations */
        PVE_LINE_NONE, /* it waits for programs of a container, not for the node */
};

struct pve_operation {
        const char *method, *path;
        const struct pve_params *params;
        const struct http_part *parts;
        const char *type;    /* of its task: "vzstart"; NULL: the answer is the end of it */
        const char *task_id; /* what the task is named after: the CT's number */
        const char *node;    /* where it is done */
        const char *storage; /* that it works on; NULL: none */
        enum pve_line line;  /* of those at @node, and at @storage */
        bool repeatable;     /* without a task: may arrive twice */
        enum pve_kind done;  /* what a second one is refused with when the first, whose answer was lost, had done it */
        const struct pve_until *until;
        const struct pve_progress *progress; /* of its task; NULL: nobody asks */
        unsigned lock_wait_ms;               /* locks are waited for no longer than that; 0: until the deadline */
};

/* @ret_warnings: of the task; may be NULL. PVE_LOST only when it could not be found out. Locks (PVE_LOCKED,
 * PVE_LOCK_TIMEOUT) are waited for until the deadline, which is ERR_DEADLINE with the lock's kind and text then (no try
 * begins in its last half second), or as long as lock_wait_ms, which is the lock's error itself. */
_must_use_ int pve_operate(struct pve *p, const struct pve_operation *op, unsigned *ret_warnings, struct err *err);
