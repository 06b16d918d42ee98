/* SPDX-License-Identifier: Apache-2.0 */
/* bundle - what the daemon prepares for a container that crun makes: its user looked up, the sources of its binds taken
 * in the host's mount namespace, its config.json written. Thread-safe. The monitor (monitor.h) does the rest. */
#pragma once
#include "base/err.h"
#include "init/plan.h"
#include "runtime/spec/spec.h"

#define CRUN_FOLDER "crun" /* of the state folder: "root", crun's own state; "bundles" */

/* Where hybrid hosts have the v2 hierarchy, which crun must not see there. */
#define CRUN_UNIFIED "/sys/fs/cgroup/unified"

/* Where crun is; NULL: nowhere. */
const char *crun_program(void);
/* ERR_UNAVAILABLE, with what to do, when it isn't installed. */
_must_use_ int crun_check(struct err *err);

/* Make the folders below <state_dir>/crun. */
_must_use_ int crun_prepare(const char *state_dir, struct err *err);

struct crun_bundle {
        struct plan_ready user; /* who the process is */
        size_t n_mounts;
        int *mounts; /* trees of the spec's binds in their order, detached; owned */
};
void crun_bundle_done(struct crun_bundle *b);
#define CRUN_BUNDLE_EMPTY ((struct crun_bundle){ 0 })

/* Write <state_dir>/crun/bundles/<id>. @dir: see crun_config_json(). The source_fd of every mount of the spec is taken
 * in any case. */
_must_use_ int crun_bundle_write(const struct spec *spec, const char *state_dir, const char *dir,
                                 struct crun_bundle *ret, struct err *err);
/* @err is crun's failure to create: if a hook was it, that is said, of which kind (as far as its program tells), and
 * not what the caller asked for is wrong, but the host's hook. */
void crun_explain(const struct spec_hooks *hooks, struct err *err);
/* "crun delete --force", and the bundle. Fine when there is none. Once the container has
 * ended. */
_must_use_ int crun_bundle_remove(const char *state_dir, const char *id, struct err *err);
