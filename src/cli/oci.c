/* SPDX-License-Identifier: Apache-2.0 */
/* oci - the OCI runtime's verbs. Containers are run by the daemon alone so far: they say so and fail, so that no caller
 * takes this program for a runtime that it can use. */
#include <stdio.h>
#include "cli/verbs.h"

static int not_yet(const char *name) {
        fprintf(stderr,
                "proxmox-lxcri: %s: the OCI runtime commands are not there yet. Pods are run through the daemon: "
                "proxmox-lxcri pod run, crictl, or a kubelet.\n",
                name);
        return EXIT_FAILED;
}

/* Whatever the caller's options are: they are not looked at. */
#define OCI_VERB(word)                                                                                                 \
        static int oci_##word(struct cli *cli, const struct cli_args *args) {                                          \
                return not_yet(#word);                                                                                 \
        }                                                                                                              \
        const struct cli_verb verb_##word = {                                                                          \
                .name = #word,                                                                                         \
                .args = "...",                                                                                         \
                .help = "OCI runtime command (not there yet)",                                                         \
                .fn = oci_##word,                                                                                      \
                .hidden = true,                                                                                        \
        };

OCI_VERB(create)
OCI_VERB(start)
OCI_VERB(state)
OCI_VERB(kill)
OCI_VERB(delete)
OCI_VERB(run)
OCI_VERB(exec)
OCI_VERB(ps)
OCI_VERB(list)
OCI_VERB(pause)
OCI_VERB(resume)
OCI_VERB(update)
OCI_VERB(events)
OCI_VERB(spec)
OCI_VERB(features)
OCI_VERB(checkpoint)
OCI_VERB(restore)
