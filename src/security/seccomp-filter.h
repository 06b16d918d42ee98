/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-filter - what the default profile and profiles from files share. Private to security/. */
#pragma once
#include <seccomp.h>
#include "security/seccomp-newer.h"
#include "security/seccomp.h"

/* Compiles @ctx, with @newer before it, as libseccomp does it. */
struct seccomp_program {
        size_t n;
        struct sock_filter *insns; /* of the heap */
};
_must_use_ int seccomp_program_compile(scmp_filter_ctx ctx, const struct seccomp_newer *newer,
                                       struct seccomp_program *ret, struct err *err);
/* The same made small, as a filter. ERR_INVALID when that is more than the kernel takes. */
_must_use_ int seccomp_filter_export(scmp_filter_ctx ctx, const struct seccomp_newer *newer, uint32_t flags,
                                     const struct seccomp_filter **ret, struct err *err);
int seccomp_filter_optimize(scmp_filter_ctx ctx); /* 0 or -errno */
/* The default profile's rules; the caller releases @ret_ctx. */
_must_use_ int seccomp_default_build(uint64_t caps, scmp_filter_ctx *ret_ctx, struct seccomp_newer *ret_newer,
                                     struct err *err);
