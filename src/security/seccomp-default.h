/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-default - the default profile as data: what is allowed always, and what only with a capability. Everything
 * else fails with EPERM (clone3 and calls newer than we know with ENOSYS, so that libc falls back). Equal in effect to
 * the default of containerd and Docker. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const char *const seccomp_default_always[]; /* NULL-terminated */

struct seccomp_default_group {
        int cap;                  /* allowed when this is in the bounding set */
        const char *const *names; /* NULL-terminated */
};
extern const struct seccomp_default_group seccomp_default_groups[];
extern const size_t seccomp_default_n_groups;
