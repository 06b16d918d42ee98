/* SPDX-License-Identifier: Apache-2.0 */
/* verb - what the two programs of the command line have in common: the form of a verb, its help, exit statuses.
 * proxmox-lxcri has the OCI runtime's verbs (oci/verbs.h), proxmox-lxcri-admin all others (verbs.h). */
#pragma once
#include <stdbool.h>
#include "cli/options.h"

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_OURS = 125 };

struct cli;

struct cli_verb {
        const char *name; /* "pod run" */
        const char *args; /* for the usage line, "IMAGE [COMMAND...]" */
        const char *help; /* one line */
        const char *description;
        const struct cli_option *options;
        int (*fn)(struct cli *cli, const struct cli_args *args); /* the exit status; NULL: of the other program */
        unsigned min_args, max_args;
        bool stop_at_args; /* what follows the first argument belongs to another program */
        bool hidden;       /* not in the list of verbs */
};

void verb_print_options(const struct cli_option *options);
/* "proxmox-lxcri VERB --help". */
void verb_print_help(const struct cli_verb *verb, const struct cli_option *globals);
