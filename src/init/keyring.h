/* SPDX-License-Identifier: Apache-2.0 */
/* keyring - the container's own session keyring, so that keys of the host's session aren't its to use. */
#pragma once
#include <stdbool.h>
#include "init/plan.h"

/* PLAN_KEYRING: makes it, or joins the one that has its name; @is_new: and sets its rights. */
int keyring_join(const struct plan_record *rec, bool is_new, struct plan_error *e);
