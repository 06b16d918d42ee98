/* SPDX-License-Identifier: Apache-2.0 */
/* oom-score - oom_score_adj of containers with a user namespace: lowering it takes the host's root, which init is not
 * there, so that it leaves the score as it found it. And of those that crun makes, which gives up where even the host's
 * root may not lower it. Thread-safe. */
#pragma once
#include "base/err.h"
#include "runtime/spec/spec.h"

/* Does nothing where init does it, or when the spec has no score. @init_fd: pidfd of @pid, init, opened before.
 */
_must_use_ int oom_score_set(const struct spec *spec, pid_t pid, int init_fd, struct err *err);
