/* SPDX-License-Identifier: Apache-2.0 */
/* start - waiting to be let go by whoever connects to a socket (PLAN_START_SOCKET), for containers that outlive who
 * made them; plan.h has the protocol. */
#pragma once
#include <stdint.h>
#include "init/plan.h"

struct start {
        int status_fd; /* the exec status pipe */
        int sock;      /* the connection to whoever said START */
};

/* For ever, whatever others send. Closes @listen_fd. SIGHUP, SIGINT, SIGQUIT and SIGTERM end the process meanwhile. */
int start_wait(int listen_fd, uint32_t uid, struct start *ret, struct plan_error *e);
