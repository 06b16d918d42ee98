/* SPDX-License-Identifier: Apache-2.0 */
/* task - waiting for a task by its UPID: asked for at growing intervals, of whichever host answers. */
#pragma once
#include "pve/pve.h"

/* Returns when the task has ended well ("OK" or "WARNINGS: n", @ret_warnings of them; may be NULL). A task that failed
 * is an error with the kind of what it ended with, as if the request itself had failed, and with the end of its log.
 * ERR_DEADLINE and ERR_CANCELLED leave the task as it is. PVE_FOREIGN: @upid is none. @progress: who is told its log as
 * it grows; may be NULL. What can't be read of that is left out, it is no failure. */
_must_use_ int pve_task_wait(struct pve *p, const char *upid, const struct pve_until *until,
                             const struct pve_progress *progress, unsigned *ret_warnings, struct err *err);
