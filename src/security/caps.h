/* SPDX-License-Identifier: Apache-2.0 */
/* caps - Linux capabilities by name, and what a CRI security context makes of them. Pure functions, thread-safe.
 * Source: capabilities(7); CRI Capability; the default set is containerd's and Docker's. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

/* "NET_ADMIN" or "CAP_NET_ADMIN", any case -> number. False: no such capability. */
bool caps_number(const char *name, int *ret);
const char *caps_name(int number); /* "CAP_NET_ADMIN"; NULL: unknown */
uint64_t caps_all(void);           /* those that the running kernel has and we may grant */
uint64_t caps_default(void);

/* The five sets of a container: default + add - drop ("ALL" allowed in both, drop ALL first), ambient only from
 * @ambient. Privileged: all. Lists are NULL-terminated, may be NULL. Unknown names: ERR_INVALID. */
struct caps_request {
        bool privileged;
        const char *const *add, *const *drop, *const *ambient;
};
struct caps_sets {
        uint64_t bounding, effective, permitted, inheritable, ambient; /* bit n: capability n */
};
_must_use_ int caps_resolve(const struct caps_request *req, struct caps_sets *ret, struct err *err);
