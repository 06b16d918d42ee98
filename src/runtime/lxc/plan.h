/* SPDX-License-Identifier: Apache-2.0 */
/* plan - from a spec to what proxmox-lxcri-init has to do (init/plan.h): a sealed memfd and the descriptors its records
 * name. Runs in the daemon, in the host's namespaces: what needs the host's view of paths (sources of binds, devices of
 * user namespaces, cgroups) is opened here. Thread-safe.
 *
 * Descriptors: fds[i] is what the records call i; the doors of cgroups first, then mounts in the order of their use.
 * They go behind the PLAN_FD_FIRST ones of PLAN_MSG_PLAN in this order; more may follow them there. Ownership: a plan
 * owns memfd and fds until plan_done(). The source_fd of every mount of the spec is taken in any case; rootfs_mount_fd
 * isn't touched.
 *
 * What liblxc must have done when init runs: root pivoted, procfs on /proc, sysfs on /sys if the spec lists one
 * (lxc_mounted_...() in config.h), all namespaces but the cgroup one; it is in its v2 cgroup. A spec's own mounts of
 * proc on /proc and sysfs on /sys only set the flags of those; a /proc that it doesn't list is taken away again.
 * Everything else is init's. */
#pragma once
#include "base/err.h"
#include "init/plan.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/spec/spec.h"

struct plan {
        int fd; /* sealed memfd */
        size_t n_fds;
        int fds[PLAN_MAX_FDS];
        int cgroup_fd; /* of init's: the folder of the v2 group in which it must be born; -1: none */
};

#define PLAN_EMPTY ((struct plan){ .fd = -1, .cgroup_fd = -1 })
void plan_done(struct plan *p);

/* Of the host, found out once: what a container's own view of the cgroups is made of. */
enum { PLAN_MAX_HIERARCHIES = 24 };
struct plan_hierarchy {
        char path[256];    /* where the host has it mounted */
        char name[64];     /* the last part of it */
        char options[128]; /* of its mount: "cpu,cpuacct", "none,name=systemd"; "": cgroup2 */
};
struct plan_host {
        struct cgroups *cgroups; /* borrowed */
        enum cgroup_mode mode;
        struct plan_hierarchy hierarchies[PLAN_MAX_HIERARCHIES]; /* v1 and hybrid */
        size_t n_hierarchies;
        /* For containers with hooks; borrowed. Where the container's root is for them: no symlinks on the way. */
        const char *hooks_root;
        const char *bundles; /* the folder of their bundles */
        const char *bundle;  /* of one container, instead; NULL: not given */
};
void plan_host_init(struct plan_host *ret, struct cgroups *cgroups);

/* A missing source of a bind, or one whose mount lacks the propagation that was asked for, is ERR_INVALID and named. */
_must_use_ int plan_build_init(const struct spec *spec, const struct plan_host *host, struct plan *ret,
                               struct err *err);
/* The program alone, and whether the root is read-only, for a container that somebody else has set up, with mounts,
 * devices and a cgroup. */
_must_use_ int plan_build_program(const struct spec *spec, struct plan *ret, struct err *err);
/* Where an exec goes. */
struct plan_groups {
        struct cgroups *cgroups; /* borrowed */
        const char *path;        /* in all hierarchies; NULL or "": stays in the caller's */
        /* And then on, of cgroup v1. */
        const struct plan_subgroup { const char *controller, *path; } * subgroups;
        size_t n_subgroups;
};
/* In @container: with its personality and memory policy; NULL: without. @process' user must be resolved. */
_must_use_ int plan_build_exec_in(const struct spec *container, const struct spec_process *process,
                                  const struct plan_groups *groups, struct plan *ret, struct err *err);
/* Who @user is by /etc/passwd and /etc/group below @rootfs_fd, which are hostile. @ret: uid, gid and groups are set. */
_must_use_ int plan_resolve_user(const struct spec_user *user, int rootfs_fd, struct plan_ready *ret, struct err *err);
/* @process' user must be resolved. */
_must_use_ int plan_build_exec(const struct spec_process *process, struct cgroups *cgroups, const char *cgroup_path,
                               struct plan *ret, struct err *err);
