/* SPDX-License-Identifier: Apache-2.0 */
/* sysctl - the kernel parameters that a pod may set: names checked first, values written by a thread that is inside the
 * pod's namespaces. Private to net/. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"

enum { SYSCTL_PATH_MAX = 256 };

/* "net.ipv4.conf.all.forwarding" (or with '/', then '.' stands for itself, as in sysctl(8)) to a path below /proc/sys.
 * ERR_INVALID for a malformed name, and for one that does not belong to a namespace made new (@net, @ipc). */
_must_use_ int sysctl_path(const char *name, bool net, bool ipc, char ret[SYSCTL_PATH_MAX], struct err *err);

/* Write @value in the calling thread's namespaces. ERR_INVALID when there is no such parameter here or the kernel
 * refuses the value. */
_must_use_ int sysctl_write(const char *path, const char *value, struct err *err);
