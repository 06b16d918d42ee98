/* SPDX-License-Identifier: Apache-2.0 */
/* tuning - how the kernel schedules and places a process, and what it says it is: records from PLAN_SCHEDULER to
 * PLAN_MEMORY_POLICY. With the rights of root, before they are dropped. */
#pragma once
#include "init/reader.h"

/* @op: PLAN_CPU_AFFINITY_INITIAL or PLAN_CPU_AFFINITY, if it is there. */
int tuning_set_affinity(const struct reader *plan, enum plan_op op, struct plan_error *e);
/* All the others, and the last affinity. */
int tuning_apply(const struct reader *plan, struct plan_error *e);
