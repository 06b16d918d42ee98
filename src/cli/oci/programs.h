/* SPDX-License-Identifier: Apache-2.0 */
/* programs - the other programs of this product, found from where this one lies: beside it (a build folder), in the
 * folder that the installation has for them, also when it was moved as a whole. */
#pragma once
#include "base/arena.h"

/* The path of the program @name; of the place that the build was configured for when there is none. */
const char *program_path(const char *name, struct arena *arena);
