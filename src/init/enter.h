/* SPDX-License-Identifier: Apache-2.0 */
/* enter - a process inside a running container: whoever calls this enters the container's namespaces by its init's
 * pidfd and makes there, as a child of its own parent (CLONE_PARENT), the process that carries out an exec's plan. For
 * throw-away helpers alone: the caller is in those namespaces afterwards and must exit. Two of them: a child of the
 * keeper that shares its memory (keeper/exec.c), and proxmox-lxcri-init itself, started from a sealed copy as
 *   init exec REPORT FLAGS ROOT_UID ROOT_GID PLAN PIDFD STATUS SOCKET IN OUT ERR [PLAN'S DESCRIPTORS...]
 * (all of them numbers, "-1": none) by the OCI runtime's exec, of whose own program nothing must be reachable from
 * inside (CVE-2019-5736). It writes a struct enter_report to REPORT and ends. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "init/plan.h"

enum {
        ENTER_USER_NS = 1, /* the container has a user namespace other than the caller's */
        ENTER_TIME_NS = 2, /* and a time namespace; not for callers that share their memory */
};

struct enter_args {
        unsigned flags;
        uint32_t root_uid, root_gid; /* the container's root, as the host sees it; of pipes that are made its own */
        int plan, pidfd, status;     /* memfd, init's, the exec status pipe's write end */
        int socket;                  /* to send the terminal's master on (process.h); -1: none */
        int stdio[3];
        const int *fds; /* the plan's own */
        size_t n_fds;
};

/* 0, or -1 with @e. @ret is the new process' id in the caller's PID namespace. */
int enter_run(const struct enter_args *a, pid_t *ret, struct plan_error *e);

struct enter_report {
        int32_t pid; /* -1: there is none, see error */
        struct plan_error error;
};
/* Of proxmox-lxcri-init; @argv behind "exec". Returns the exit code. */
int enter_main(int argc, char **argv);
