/* SPDX-License-Identifier: Apache-2.0 */
/* info-host - facts of the runtime and of the host, that need no daemon. */
#pragma once
#include <jansson.h>
#include "base/arena.h"

/* {runtime, host, engines, snapshotters}; the caller owns it. */
json_t *info_host(struct arena *arena);
