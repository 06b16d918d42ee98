/* SPDX-License-Identifier: Apache-2.0 */
/* process - the first process of a CT that runs on this host, asked of the kernel: that is nearer than what Proxmox'
 * API says, and no request. */
#pragma once
#include "runtime/proxmox/ct.h"

/* That of @ret->vmid. ERR_ABORTED: there is none. ERR_PRECONDITION: its ids are not those that Proxmox gives. */
_must_use_ int ct_process_find(const struct cgroups *cgroups, struct ct *ret, struct err *err);
/* A pidfd; -1 when it has ended, also when nobody has reaped it yet. */
int ct_process_open(const struct ct *ct);
