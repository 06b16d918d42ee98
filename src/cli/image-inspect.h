/* SPDX-License-Identifier: Apache-2.0 */
/* image-inspect - the verb's two halves: what is here, and what a registry has. */
#pragma once
#include "cli/cli.h"
#include "cli/options.h"

/* With --remote; returns the exit status. */
int image_inspect_remote(struct cli *cli, const struct cli_args *args);
