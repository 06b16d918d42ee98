/* SPDX-License-Identifier: Apache-2.0 */
/* config-json - a spec as the config.json from which crun makes its container. A pure function of what it is given;
 * thread-safe. The words of the file are those that oci/ reads. Source: OCI runtime-spec 1.0, config.md and
 * config-linux.md, which crun 1.8 knows; crun(1) for its annotations. */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "runtime/spec/spec.h"

/* In @dir, a pipe: what hooks write. */
#define CRUN_HOOKS_OUTPUT "hooks"

/* @dir: where the monitor attaches what the host gives: the root as "root", the spec's binds as "m0", "m1" ...
 * (monitor.h). The spec's user must be resolved. Limits are left out: the cgroup, which is there before, has them.
 * @ret: in @arena. ERR_INVALID: a value that JSON can't hold, named by its property. ERR_UNIMPLEMENTED: what crun can't
 * do. */
_must_use_ int crun_config_json(const struct spec *spec, const char *dir, struct arena *arena, const char **ret,
                                struct err *err);
