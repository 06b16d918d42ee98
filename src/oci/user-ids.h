/* SPDX-License-Identifier: Apache-2.0 */
/* user-ids - whose ids a user namespace's are that a bundle joins: liblxc has to know, and bundles tell nothing, or
 * (Podman's, in a pod) a map that only stands for one. Single-threaded programs only. Private to oci/. */
#pragma once
#include "oci/config.h"

/* Where the user namespace is one of a path, its true maps take the place of those in the bundle, also for mounts that
 * follow them; our own is none to join. ERR_INVALID: it can't be entered. */
_must_use_ int user_ids_settle(struct spec *spec, struct arena *arena, struct err *err);

/* The text of a uid_map or gid_map, which is cut up: how many lines are right, *@ret the first of them, in @arena. */
size_t user_ids_parse(char *text, struct arena *arena, const struct id_map **ret);
