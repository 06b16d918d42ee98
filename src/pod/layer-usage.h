/* SPDX-License-Identifier: Apache-2.0 */
/* layer-usage - what containers' writable layers take on disk, measured by one thread in the background, never within a
 * call (docs/decisions/0010). Thread-safe. Private to pod/. */
#pragma once
#include "pod/registry.h"

struct layer_usage {
        uint64_t at_ns; /* when it was measured, CLOCK_REALTIME */
        uint64_t bytes, inodes;
};

/* The last measurement; false when there is none yet. Never waits. */
bool layer_usage_get(struct container *c, struct layer_usage *ret);
/* Has it measured anew, unless that was done a moment ago: after ten seconds at the earliest, and so that measuring one
 * layer takes at most a twentieth of the time. */
void layer_usage_refresh(struct container *c);
