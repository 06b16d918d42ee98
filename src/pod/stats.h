/* SPDX-License-Identifier: Apache-2.0 */
/* stats - what the stats of containers and of pods share. Private to pod/. */
#pragma once
#include "pod/registry.h"

CRI(UInt64Value) * stats_u64(struct arena *a, uint64_t v);
CRI(MemoryUsage) * stats_memory(const struct cgroup_stats *st, struct arena *a);
/* @ret_used: the numbers behind the answer, all 0 when it doesn't run; may be NULL. Reads files. */
_must_use_ int stats_container(struct container *c, struct arena *arena, CRI(ContainerStats) * *ret,
                               struct cgroup_stats *ret_used, struct err *err);

/* One line of /proc/net/dev. False when there is no such interface in @text. */
struct net_counters {
        uint64_t rx_bytes, rx_errors, tx_bytes, tx_errors;
};
bool stats_parse_interface(const char *text, const char *name, struct net_counters *ret);
