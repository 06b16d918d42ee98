/* SPDX-License-Identifier: Apache-2.0 */
/* stats - what the stats of containers and of pods share. Private to pod/. */
#pragma once
#include "pod/registry.h"

CRI(UInt64Value) * stats_u64(struct arena *a, uint64_t v);
/* The next two: NULL where the kernel has no PSI. */
CRI(PsiStats) * stats_psi(const struct cgroup_psi *psi, struct arena *a);
CRI(IoUsage) * stats_io(const struct cgroup_stats *st, struct arena *a);
CRI(MemoryUsage) * stats_memory(const struct cgroup_stats *st, struct arena *a);
/* @ret_used: the numbers behind the answer, all 0 when it doesn't run; may be NULL. Reads files. */
_must_use_ int stats_container(struct container *c, struct arena *arena, CRI(ContainerStats) * *ret,
                               struct cgroup_stats *ret_used, struct err *err);
