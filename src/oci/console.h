/* SPDX-License-Identifier: Apache-2.0 */
/* console - the socket on which whoever asked for a terminal gets its master (--console-socket). Source: runc's
 * docs/terminals.md: a SOCK_STREAM unix socket; one message with the terminal's name and the descriptor. */
#pragma once
#include <stdbool.h>
#include "base/err.h"

/* A connection to whoever listens at @path, however long that is; also to a seccomp agent. 0 or -errno. */
_must_use_ int console_open(const char *path, int *ret);
/* Before anything is made, so that a wrong path costs nothing. ERR_INVALID: no socket there, or nobody listens. */
_must_use_ int console_connect(const char *path, int *ret, struct err *err);
_must_use_ int console_send(int sock, int master, struct err *err);
/* The rules between "terminal", --console-socket and --detach, as runc's. @terminal: the process wants one. */
_must_use_ int console_check(bool terminal, bool detached, const char *path, struct err *err);
