/* SPDX-License-Identifier: Apache-2.0 */
/* child - what the first process of a Proxmox container needs, whose program is its child. */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* @ret: SIGCHLD and what a container is halted with, which Proxmox does by SIGPWR, or SIGTERM. Blocked, signals reach
 * even the first process of a PID namespace. @old: what was blocked before; may be NULL. */
void child_block(sigset_t *ret, sigset_t *old);
/* All that has ended is reaped. True: the program itself has, with waitpid's @status. */
bool child_reap(pid_t program, int *status);
