/* SPDX-License-Identifier: Apache-2.0 */
/* pull - fetch an image with progress; used by "image pull" and "pod run". */
#pragma once
#include "cli/cri.h"
#include "cli/options.h"

struct pull_args {
        const char *reference;
        const struct cli_args *options; /* with CLI_CREDENTIALS_OPTIONS */
        bool quiet;
};

_must_use_ int pull_image(struct cli *cli, const struct pull_args *args, const char **ret_id, struct err *err);
/* The image as the daemon has it, @ret NULL when it has not. */
_must_use_ int find_image(struct cli *cli, const char *reference, bool verbose, Runtime__V1__ImageStatusResponse **ret,
                          struct err *err);
