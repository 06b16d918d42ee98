/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/verbs.h"

const struct cli_verb *const cli_verbs[] = {
#define X(verb) &verb,
        CLI_VERBS(X)
#undef X
#define X(word) &oci_verb_##word,
                OCI_VERBS(X)
#undef X
#define X(id, ...) &verb_proxmox_##id,
                        REST_OPERATIONS(X)
#undef X
                                NULL
};

const struct cli_option cli_global_options[] = {
        { 0, "socket", "PATH", "the daemon's socket (default " CLI_DEFAULT_SOCKET ", or $PROXMOX_LXCRI_SOCKET)" },
        { 'o', "output", "FORMAT", "table (default) or json" },
        { 0, "timeout", "SECONDS", "give up a request after that time" },
        { 'h', "help", NULL, "show help" },
        { 0 },
};

const struct cli_option *cli_globals(const struct cli_verb *verb) {
        return verb->fn ? cli_global_options : oci_global_options;
}
