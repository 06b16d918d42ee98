/* SPDX-License-Identifier: Apache-2.0 */
/* monitor - the process per container in which liblxc runs: forked by the keeper, blocked in start() for the
 * container's life, then writes the exit record. The only place that includes liblxc's header. What liblxc is used for,
 * and what not to: docs/decisions/0002-liblxc-narrow.md. */
#pragma once
#include "base/attr.h"
#include "runtime/lxc/files.h"

enum { MONITOR_CONFIG_FDS_MAX = 16 };

struct monitor_args {
        const char *id;
        const char *lxc_path;   /* <state>/lxc */
        const char *rootfs_dir; /* empty folder on which the root file system is attached, in a mount namespace of its
                                   own */
        const char *config;     /* "key = value" lines, placeholders replaced already */
        int dirfd;              /* <state>/containers/<id> */
        int rootfs_fd;          /* detached mount */
        int init_fd;            /* sealed memfd of the init program, opened read-only */
        int init_socket;        /* init's end */
        bool nested;            /* in another PID namespace than the keeper, whose /proc is of no use here */
        int home_fd;            /* cgroup.procs to go back to once init is there; -1: none */
        int keep[CONTAINER_FD_MAX]; /* held open for a later keeper, at these numbers, O_CLOEXEC; -1: none */
        const int *config_fds;      /* that the config names; kept open at their numbers */
        int n_config_fds;
};

/* In the forked child; never returns. */
_noreturn_ void monitor_run(const struct monitor_args *args);
