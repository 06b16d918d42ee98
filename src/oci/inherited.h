/* SPDX-License-Identifier: Apache-2.0 */
/* inherited - descriptors of the caller's that the program in a container gets: those of socket activation, then those
 * of --preserve-fds, as 3 and on, as runc does it. Source: sd_listen_fds(3). */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "runtime/spec/spec.h"

/* @listen: with LISTEN_FDS of the environment, if it is meant for this process; the program gets LISTEN_FDS, LISTEN_PID
 * (1: its own in a PID namespace of its own) and LISTEN_FDNAMES, too. @preserve: so many after them. ERR_INVALID: one
 * of them isn't open. Fills @p's fds and adds to its env, in the arena. */
_must_use_ int inherited_add(unsigned preserve, bool listen, struct arena *arena, struct spec_process *p,
                             struct err *err);
/* @entry: "K=V", added at the end. */
void inherited_add_env(struct arena *arena, struct spec_process *p, const char *entry);
