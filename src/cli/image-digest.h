/* SPDX-License-Identifier: Apache-2.0 */
/* image-digest - how verbs that put something into a registry tell its digest. */
#pragma once
#include "cli/cli.h"
#include "cli/options.h"

#define CLI_DIGESTFILE_OPTION                                                                                          \
        { 0, "digestfile", "FILE", "write the digest there, too" }

/* Prints it, and writes --digestfile; returns the exit status. */
int image_digest_tell(struct cli *cli, const struct cli_args *args, const char *reference, const char *digest);
