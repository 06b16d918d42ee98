/* SPDX-License-Identifier: Apache-2.0 */
/* monitor - the process per container in which liblxc runs: forked by the keeper, blocked in start() for the container's
 * life, then writes the exit record. The only place that includes liblxc's header. What liblxc is used for, and what not
 * to: docs/decisions/0002-liblxc-narrow.md. */
#pragma once
#include "base/attr.h"

/* Where the monitor keeps descriptors that a new keeper may need (pidfd_getfd). All O_CLOEXEC. */
enum {
        MONITOR_FD_SOCKET = 200, /* the keeper's end of init's socket; READY stays queued in it */
        MONITOR_FD_EXEC,         /* read end of the exec status pipe */
        MONITOR_FD_STDIN,        /* write end, if any */
        MONITOR_FD_STDOUT,       /* read ends */
        MONITOR_FD_STDERR,
        MONITOR_FD_END,
        MONITOR_CONFIG_FDS_MAX = 16,
};

struct monitor_args {
        const char *id;
        const char *lxc_path;   /* <state>/lxc */
        const char *rootfs_dir; /* empty folder on which the root file system is attached, in a mount namespace of its own */
        const char *config;     /* "key = value" lines, placeholders replaced already */
        int dirfd;              /* <state>/containers/<id> */
        int rootfs_fd;          /* detached mount */
        int init_fd;            /* sealed memfd of the init program, opened read-only */
        int init_socket;        /* init's end */
        int keep[MONITOR_FD_END - MONITOR_FD_SOCKET]; /* to be kept at MONITOR_FD_SOCKET...; -1: none */
        const int *config_fds;  /* that the config names; kept open at their numbers */
        int n_config_fds;
};

/* In the forked child; never returns. */
_noreturn_ void monitor_run(const struct monitor_args *args);
