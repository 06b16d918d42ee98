/* SPDX-License-Identifier: Apache-2.0 */
/* stats - what a container uses, in the form of runc's "events", from its control group. */
#pragma once
#include <jansson.h>
#include "runtime/cgroup/cgroup.h"

/* The "data" of an event of type "stats"; the caller owns it. */
json_t *stats_json(struct cgroups *c, const char *path);
