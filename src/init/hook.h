/* SPDX-License-Identifier: Apache-2.0 */
/* hook - OCI hooks that run inside the container's namespaces: those of createContainer, with the host's root and the
 * container's below it, as before pivot_root, and those of startContainer. Single-threaded; SIGCHLD is ours meanwhile.
 */
#pragma once
#include "init/fail.h"
#include "init/reader.h"

/* PLAN_HOOKS. @root_fd: the container's root, which is "/" again afterwards. */
int hook_run_before_pivot(const struct reader *plan, const struct plan_record *rec, int host_fd, int root_fd, int sock,
                          struct plan_error *e);

/* Every PLAN_HOOK with these flags, in order, as the caller is; the first that fails is the last. */
int hook_run(const struct reader *plan, unsigned flags, struct plan_error *e);
