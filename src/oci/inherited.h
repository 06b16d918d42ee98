/* SPDX-License-Identifier: Apache-2.0 */
/* inherited - descriptors that the caller has left open for the container's program: those of socket activation
 * (LISTEN_FDS, when LISTEN_PID is us) from 3 on, and behind them those of --preserve-fds. As runc. */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "runtime/spec/spec.h"

/* Fills @p's fds, and adds LISTEN_FDS and LISTEN_PID to its environment. ERR_INVALID: one is not open. */
_must_use_ int oci_inherit_fds(unsigned preserve, struct arena *arena, struct spec_process *p, struct err *err);
