/* SPDX-License-Identifier: Apache-2.0 */
/* terminal - a pseudo terminal of the container's own devpts as the standard streams and controlling terminal of this
 * process. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "init/plan.h"

/* Returns the master's descriptor, or -1 with @e. 0 rows or columns: left as they are. @console: bind it on
 * /dev/console too. */
int terminal_open(int root_fd, uint16_t rows, uint16_t columns, bool console, struct plan_error *e);

/* One message with a descriptor (-1: none). 0 or -errno. */
int terminal_send(int socket_fd, const void *data, size_t len, int fd);
