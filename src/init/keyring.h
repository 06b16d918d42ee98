/* SPDX-License-Identifier: Apache-2.0 */
/* keyring - the container's own session keyring, so that keys of the host's session aren't its to use. */
#pragma once
#include <stdbool.h>
#include "init/plan.h"

struct reader;

/* PLAN_KEYRING: makes it, or joins the one that has its name; @is_new: and sets its rights. One that is made has the
 * SELinux label of the process, if there is one: @proc_fd is where that is said. */
int keyring_join(const struct reader *plan, const struct plan_record *rec, int proc_fd, bool is_new,
                 struct plan_error *e);
