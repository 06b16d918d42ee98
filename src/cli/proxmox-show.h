/* SPDX-License-Identifier: Apache-2.0 */
/* proxmox-show - what the verbs "proxmox ..." print. */
#pragma once
#include <jansson.h>
#include "cli/cli.h"
#include "rest/operations.h"

/* A line of a task's log, on standard error. */
void show_progress(const char *line);
/* An operation's answer, as its columns say or as JSON; borrowed. */
void show_answer(struct cli *cli, const struct rest_operation *op, json_t *answer);
