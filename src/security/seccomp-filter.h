/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-filter - what the default profile and profiles from files share. Private to security/. */
#pragma once
#include <seccomp.h>
#include "security/seccomp-newer.h"
#include "security/seccomp.h"

/* Compiles @ctx, with @newer before it. ERR_INVALID when that is more than the kernel takes. */
_must_use_ int seccomp_filter_export(scmp_filter_ctx ctx, const struct seccomp_newer *newer, uint32_t flags,
                                     const struct seccomp_filter **ret, struct err *err);
int seccomp_filter_optimize(scmp_filter_ctx ctx); /* 0 or -errno */
