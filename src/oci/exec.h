/* SPDX-License-Identifier: Apache-2.0 */
/* exec - what the parts of an exec share. Private to oci/. */
#pragma once
#include "oci/config.h"
#include "oci/oci.h"
#include "runtime/lxc/plan.h"

struct exec {
        const struct oci *oci;
        const struct oci_exec_args *args;
        struct oci_state state; /* of the container */
        struct oci_config config;
        struct spec_process process;
        struct plan_groups groups; /* where it goes; owns .cgroups */
        int init_pidfd;
        /* What comes of it; -1: none. */
        pid_t pid;
        int pidfd;
        int status_r; /* the exec status pipe */
        int socket;   /* on which the process sends its terminal and the seccomp filter's descriptor */
};
#define EXEC_EMPTY ((struct exec){ .init_pidfd = -1, .pid = -1, .pidfd = -1, .status_r = -1, .socket = -1 })

/* What is run: the container's process with what the options change, or --process. */
_must_use_ int exec_read_process(struct exec *x, struct err *err);
/* The process, as a child of ours in the container: on its way to the program. */
_must_use_ int exec_spawn(struct exec *x, struct err *err);
