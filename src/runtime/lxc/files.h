/* SPDX-License-Identifier: Apache-2.0 */
/* files - what a container leaves in <state>/containers/<id>/ for the next keeper and the next daemon: small text
 * files, replaced atomically, on tmpfs. "state": monitor and init as pid and start time; "started": the user's program
 * was exec'd; "exit": how it ended, written by the monitor, or by the keeper for a monitor that was killed. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"

/* Descriptors that the monitor holds for a later keeper (pidfd_getfd). */
enum container_fd {
        CONTAINER_FD_SOCKET, /* the keeper's end of init's socket; READY stays queued in it */
        CONTAINER_FD_EXEC,   /* read end of the exec status pipe */
        CONTAINER_FD_STDIN,  /* write end, if any */
        CONTAINER_FD_STDOUT, /* read ends */
        CONTAINER_FD_STDERR,
        CONTAINER_FD_MAX,
};

struct container_state {
        pid_t monitor_pid, init_pid; /* 0: not known (yet) */
        uint64_t monitor_start, init_start;
        uint32_t flags;            /* KEEPER_SPAWN_* */
        int fds[CONTAINER_FD_MAX]; /* their numbers in the monitor, -1: none */
};

struct container_exit {
        int code, signal;
        uint64_t finished_at_ns;
        char reason[32]; /* "" for an ordinary end */
};

_must_use_ int container_state_write(int dirfd, const struct container_state *s, struct err *err);
_must_use_ int container_state_read(int dirfd, struct container_state *ret, struct err *err);
_must_use_ int container_exit_write(int dirfd, const struct container_exit *x, struct err *err);
_must_use_ int container_exit_read(int dirfd, struct container_exit *ret, struct err *err);
bool container_has_exit(int dirfd);
bool container_was_started(int dirfd);
_must_use_ int container_set_started(int dirfd, struct err *err);
