/* SPDX-License-Identifier: Apache-2.0 */
/* features - what this runtime can do, as the OCI runtime specification's features document: for the verb "features",
 * by which engines choose. Made from the tables that config.json is read with, so that the two can't differ. */
#pragma once
#include "base/arena.h"

/* JSON text, ends with a newline; in the arena. */
const char *oci_features(struct arena *arena);
