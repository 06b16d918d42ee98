/* SPDX-License-Identifier: Apache-2.0 */
/* lost - a container whose state.json is damaged or gone: what of it can be found by other ways, for "delete --force"
 * alone. Private to oci/. */
#pragma once
#include "oci/oci.h"

/* What the watcher's log is called, as long as there is one: it tells whose watcher it is. */
const char *lost_mark(const struct oci_dir *d, struct arena *arena);

/* Fills @ret with what there is: init by its watcher or by the socket on which it waits for "start", the group by the
 * stored config.json or init's own. A group counts as made for the container only if its path has the id in it and
 * nothing runs in it that shares the caller's mount namespace: every container has one of its own. Warns of what it
 * took, and of what it could not find. Another engine's (oci_claim_read()) is left to that. */
void lost_find(const struct oci *o, const struct oci_dir *d, struct cgroups *cgroups, struct oci_state *ret);
