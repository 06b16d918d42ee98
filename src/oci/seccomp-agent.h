/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-agent - who decides about the system calls that a filter with SCMP_ACT_NOTIFY asks about: a program outside
 * that listens at linux.seccomp.listenerPath, and gets the filter's descriptor with a container's state from us.
 * Private to oci/. Source: OCI runtime-spec 1.3, config-linux.md#containerprocessstate. */
#pragma once
#include "oci/config.h"
#include "oci/state.h"

/* Waits on @sock for the descriptor that a process with such a filter sends (init/plan.h, PLAN_MSG_SECCOMP), hands it
 * over and lets the process go on. Returns, too, when the process has something to say on @status_r, or has ended.
 * @pid: of the process. @status: the container's. */
_must_use_ int seccomp_agent_serve(int sock, int status_r, const struct oci_config *config, const struct oci_state *s,
                                   enum oci_status status, pid_t pid, struct arena *arena, struct err *err);
