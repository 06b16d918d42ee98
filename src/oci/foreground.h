/* SPDX-License-Identifier: Apache-2.0 */
/* foreground - staying with a program in a container until it ends: signals go on to it and its terminal, if it has
 * one, is shown on ours. */
#pragma once
#include <sys/types.h>
#include "base/err.h"

struct foreground {
        int signals; /* of foreground_catch_signals() */
        pid_t pid;   /* a child of ours, or one that we have adopted; 0: neither, somebody else hears how it ends */
        int pidfd;   /* its */
        int master;  /* of its terminal; -1: none. Borrowed */
};

/* Before the program is there: signals that come early wait for it. Forks inherit that they are blocked. */
_must_use_ int foreground_catch_signals(int *ret_fd, struct err *err);
/* @ret_status: exit code, 128 + signal. */
_must_use_ int foreground_wait(const struct foreground *f, int *ret_status, struct err *err);
