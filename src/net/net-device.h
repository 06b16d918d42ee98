/* SPDX-License-Identifier: Apache-2.0 */
/* net-device - moves a network device of the host into another network namespace for good. By rtnetlink, without a
 * library: the OCI runtime's program loads none. For single-threaded programs: the calling process visits the other
 * namespace. Source: OCI runtime-spec 1.3, config-linux.md#network-devices. */
#pragma once
#include <sys/types.h>
#include "base/err.h"

/* @name becomes @new_name (NULL, "": keeps it; "eth%d": the kernel chooses) in the network namespace of process @pid,
 * is set up there and keeps its permanent global addresses. ERR_INVALID: no such device, or the name is taken there.
 * What was done before a failure is not undone: the device ends with the namespace, or goes back to the host. */
_must_use_ int net_device_move(const char *name, const char *new_name, pid_t pid, struct err *err);
