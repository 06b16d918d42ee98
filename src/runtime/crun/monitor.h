/* SPDX-License-Identifier: Apache-2.0 */
/* monitor - the process per container of the engine crun: forked by the keeper as liblxc's monitors are
 * (runtime/lxc/monitor.h), it has crun make and start the container, adopts its first process, waits for that and
 * writes the exit record. To the keeper it speaks in init's place: READY in the name of the container's first process
 * (SCM_CREDENTIALS), START, the exec status pipe. */
#pragma once
#include <stddef.h>
#include "base/attr.h"
#include "runtime/lxc/files.h"

struct crun_monitor_args {
        const char *id;
        const char *program;    /* crun's path */
        const char *state_dir;  /* crun/bundles/<id> there was written by the daemon (bundle.h) */
        const char *rootfs_dir; /* empty folder, on which all that the host gives is attached, in a mount namespace of
                                   its own: "root", and each of @mounts as "m0", "m1" ... */
        int mount_ns, net_ns;   /* the host's: where hooks run and paths mean what the caller meant */
        int rootfs_fd;          /* detached mount */
        const int *mounts;      /* detached mounts */
        size_t n_mounts;
        int dirfd;                          /* <state>/containers/<id> */
        int init_socket;                    /* init's end */
        int stdin_fd, stdout_fd, stderr_fd; /* of the container, but for a terminal */
        bool terminal;
        bool user_ns; /* it has a user namespace */
        int exec_fd;  /* the exec status pipe's write end */
        int home_fd; /* it was born in the container's v2 group: a cgroup.procs to write "0" to once that is made; -1 */
        int keep[CONTAINER_FD_MAX]; /* held open for a later keeper, at these numbers, O_CLOEXEC; -1: none */
};

/* In the forked child; never returns. */
_noreturn_ void crun_monitor_run(const struct crun_monitor_args *args);
