/* SPDX-License-Identifier: Apache-2.0 */
/* launch - starts a container by liblxc such that its first process is left to whoever adopts the launcher's children,
 * as callers of OCI runtimes expect: a process of its own (forked for it by oci/) in which liblxc runs until it enters
 * its loop; that goes on in a fork, the watcher, and the launcher ends. The watcher answers lxc-info and the like, and
 * ends with the container. docs/decisions/0019-oci-runtime.md.
 *
 * Only for programs that export the epoll_wait() and unshare() of launch.c to the libraries they load: the command
 * line. */
#pragma once
#include <stddef.h>
#include "base/attr.h"

/* Where the root file system is attached in the launcher's mount namespace. */
#define LAUNCH_ROOTFS_DIR "/run/rootfs"
/* In its /run, which is its own, too. */
#define LAUNCH_LXC_PATH "/run/oci"
/* The one network namespace of all watchers: no container's processes get to their abstract sockets. A file in the
 * host's mount namespace, made when it is missing. */
#define LAUNCH_NETNS "/run/proxmox-lxcri/watchers.net"

struct launch_args {
        const char *id;
        const char *lxc_path; /* what liblxc's command socket is called after */
        int init_socket;      /* init's end */
        int watcher_socket;   /* gets the order (below); then the watcher sends one byte when it is there, and gets one
                                 with init's pidfd (SCM_RIGHTS); EOF without that ends it */
        int log_fd;           /* for liblxc's errors: named in the order */
        int home_fd; /* cgroup.procs to go back to from the container's group in which it was forked; -1: none */
};

/* What to start, one message: "key = value" lines for liblxc, in which "@N@" stands for descriptor N of those from
 * LAUNCH_FD_CONFIG on. */
enum launch_fd {
        LAUNCH_FD_ROOTFS, /* detached mount */
        LAUNCH_FD_INIT,   /* sealed memfd of the init program, opened read-only */
        LAUNCH_FD_CONFIG
};

/* In the forked child; never returns. */
_noreturn_ void launch_run(const struct launch_args *args);
