/* SPDX-License-Identifier: Apache-2.0 */
/* listener - a seccomp filter some of whose system calls an agent answers, and its descriptor handed to whoever knows
 * the agent (PLAN_SECCOMP_NOTIFY). Once the filter is loaded any call may be one of those, and nobody answers before
 * the agent has the descriptor: so a thread that the filter doesn't hold does all that is needed for that. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "init/plan.h"

/* @program: struct sock_fprog; @flags: SECCOMP_FILTER_FLAG_*. @sock: gets PLAN_MSG_SECCOMP, answers PLAN_MSG_GO; it
 * should be O_CLOEXEC, as the filter's descriptor, which stays open, is. */
int listener_load(const void *program, uint64_t flags, int sock, struct plan_error *e);
