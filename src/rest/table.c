/* SPDX-License-Identifier: Apache-2.0 */
#include "rest/operations.h"

#define A(name_, metavar_, kind_, help_)                                                                               \
        { .name = name_,                                                                                               \
          .kind = REST_##kind_,                                                                                        \
          .required = true,                                                                                            \
          .positional = true,                                                                                          \
          .metavar = metavar_,                                                                                         \
          .help = help_ },
#define R(name_, metavar_, kind_, help_)                                                                               \
        { .name = name_, .kind = REST_##kind_, .required = true, .metavar = metavar_, .help = help_ },
#define O(name_, metavar_, kind_, help_) { .name = name_, .kind = REST_##kind_, .metavar = metavar_, .help = help_ },
#define F(name_, help_) { .name = name_, .kind = REST_BOOL, .flag = true, .help = help_ },
#define X(id, function, verb_, method_, path_, progress_, columns_, help_, args_)                                      \
        [REST_##id] = { .verb = verb_,                                                                                 \
                        .method = method_,                                                                             \
                        .path = path_,                                                                                 \
                        .progress = progress_,                                                                         \
                        .columns = columns_,                                                                           \
                        .help = help_,                                                                                 \
                        .args = (const struct rest_arg[]){ args_(A, R, O, F){ 0 } } },

const struct rest_operation rest_operations[REST_OPERATIONS_N] = { REST_OPERATIONS(X) };
