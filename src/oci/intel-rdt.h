/* SPDX-License-Identifier: Apache-2.0 */
/* intel-rdt - shares of the processor's cache and memory bandwidth, as groups of the kernel's resctrl file system.
 * Source: OCI runtime-spec 1.3, config-linux.md#intelrdt; runc's rules where that is silent: a group that is named
 * (closID) is somebody's and stays, one of the container's id is the container's and goes with it. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include "base/arena.h"
#include "base/err.h"

struct oci_intel_rdt {
        const char *clos_id;              /* NULL: the container's id; "/": the default group */
        const char *l3_cache, *bandwidth; /* NULL: none */
        const char *const *schemata;      /* more lines; never NULL */
        bool monitoring;                  /* a monitoring group of its own */
};

/* Where resctrl is mounted. ERR_PRECONDITION: nowhere, so that what the bundle wants can't be done. */
_must_use_ int intel_rdt_find(struct arena *arena, const char **ret_root, struct err *err);
/* Makes the groups below @root and writes the schemata. @ret_made: the folder to remove with the container, also on
 * failure; "": none. @ret_tasks: folder to add the container's init to. ERR_INVALID: there is no such group, the kernel
 * refuses the schemata; ERR_EXISTS: a group of the container's id is somebody else's. */
_must_use_ int intel_rdt_make(const char *root, const struct oci_intel_rdt *rdt, const char *id, struct arena *arena,
                              const char **ret_made, const char **ret_tasks, struct err *err);
/* New schemata of @rdt for the group in which a container's processes are; @tasks as intel_rdt_make() told it. */
_must_use_ int intel_rdt_update(const char *tasks, const struct oci_intel_rdt *rdt, struct arena *arena,
                                struct err *err);
/* Before the program starts: what it makes goes with it. */
_must_use_ int intel_rdt_add(const char *tasks, pid_t pid, struct err *err);
/* What was made. */
_must_use_ int intel_rdt_remove(const char *made, struct err *err);
