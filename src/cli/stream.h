/* SPDX-License-Identifier: Apache-2.0 */
/* stream - the client of the daemon's streaming server: a URL that Exec, Attach or PortForward gave out, spoken to over
 * SPDY/3.1, plain or TLS, with this process's descriptors at the other end. Blocks until it is over. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

struct stream_args {
        const char *url;
        /* -1: not wanted. They stay the caller's, and are not made non-blocking. */
        int in_fd, out_fd, err_fd;
        bool tty; /* sizes of the user's terminal are passed on; signals but SIGTERM and SIGHUP are the program's */
        /* The server has taken all streams; an error ends it. NULL: nothing to do then. */
        int (*ready)(void *userdata, struct err *err);
        void *userdata;
        uint16_t port; /* forwarding: in_fd and out_fd are a connection; 0: exec or attach */
};

/* @ret_code: of the program; 0 for attach and forwarding. ERR_CANCELLED: a signal came (SIGINT once
 * cli_catch_signals() was called). */
_must_use_ int stream_run(const struct stream_args *args, int *ret_code, struct err *err);
