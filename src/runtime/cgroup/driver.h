/* SPDX-License-Identifier: Apache-2.0 */
/* driver - groups of OCI containers, by whichever driver their place (cgroup_place_find()) is of: cgroupfs, or systemd,
 * which makes a transient scope (or slice) by its D-Bus interface and then lets the files be. libsystemd is loaded when
 * the first unit is touched. Single-threaded programs only. Sources: org.freedesktop.systemd1(5),
 * systemd.resource-control(5); what is set is what runc sets. */
#pragma once
#include "runtime/cgroup/cgroup.h"

struct cgroup_unit_args {
        pid_t pid; /* moves into the scope with all its threads; 0: a process that does nothing is made for it */
        const struct spec_pair *annotations; /* "org.systemd.property.NAME": a value in GVariant's text format */
        size_t n_annotations;
};
struct cgroup_made {
        bool made;    /* by us: ours to kill and remove */
        pid_t holder; /* keeps a scope from ending until cgroup_holder_end(), which is due once the container's own
                         first process is in; 0: none */
};
/* As cgroup_create_or_join(). @args may be NULL. A unit that exists is ERR_EXISTS; systemd that does not run, or a
 * caller other than root: ERR_PRECONDITION; that does not answer: ERR_DEADLINE. */
_must_use_ int cgroup_place_create(struct cgroups *c, const struct cgroup_place *place,
                                   const struct cgroup_unit_args *args, const struct spec_resources *r,
                                   struct cgroup_made *ret, struct err *err);
void cgroup_holder_end(struct cgroup_made *made);
/* As cgroup_update(): all or nothing, in systemd and in the files. place->slice is not needed. */
_must_use_ int cgroup_place_update(struct cgroups *c, const struct cgroup_place *place, const struct spec_resources *r,
                                   struct err *err);
/* The unit ends, and with it what still runs in it; then as cgroup_remove(). Missing is fine. */
_must_use_ int cgroup_place_remove(struct cgroups *c, const struct cgroup_place *place, struct err *err);
/* The place of a group that is there, of which nothing but the path is known: a scope's, if systemd says that it is. */
void cgroup_place_by_path(const char *path, struct arena *arena, struct cgroup_place *ret);
