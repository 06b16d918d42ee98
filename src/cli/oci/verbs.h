/* SPDX-License-Identifier: Apache-2.0 */
/* verbs - the OCI runtime's verbs as data, for the program that has them and for help, completions and the manual page,
 * which the other one makes. X(word), in the order of the help. */
#pragma once
#include "cli/verb.h"

#define OCI_VERBS(X)                                                                                                   \
        X(create)                                                                                                      \
        X(start)                                                                                                       \
        X(run)                                                                                                         \
        X(exec)                                                                                                        \
        X(kill)                                                                                                        \
        X(stop)                                                                                                        \
        X(delete)                                                                                                      \
        X(state)                                                                                                       \
        X(list)                                                                                                        \
        X(ps)                                                                                                          \
        X(mounts)                                                                                                      \
        X(pause)                                                                                                       \
        X(resume)                                                                                                      \
        X(update)                                                                                                      \
        X(events)                                                                                                      \
        X(checkpoint)                                                                                                  \
        X(restore)                                                                                                     \
        X(spec)                                                                                                        \
        X(features)

#define X(word) extern const struct cli_verb oci_verb_##word;
OCI_VERBS(X)
#undef X

extern const struct cli_verb *const oci_verbs[]; /* NULL last */
/* Before the verb or behind it. */
extern const struct cli_option oci_global_options[];
