/* SPDX-License-Identifier: Apache-2.0 */
/* setup - the setup records of a plan, in their order: from a fresh namespace whose root was pivoted to the container
 * as it is to be. Runs as the container's first process, alone in it; nobody else's code has run in there yet, but
 * image and volumes are hostile. */
#pragma once
#include "init/reader.h"
#include "init/users.h"

struct setup_result {
        struct users_result user;
        int master_fd; /* of the terminal, -1: none */
        int proc_fd;   /* of the container's procfs, -1: none */
};

/* @fds: the plan's descriptors; @sock: to the keeper, asked when there are hooks. On failure the process can only
 * report and exit. */
int setup_run(const struct reader *plan, const int *fds, int sock, struct setup_result *ret, struct plan_error *e);
