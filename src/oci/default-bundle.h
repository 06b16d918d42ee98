/* SPDX-License-Identifier: Apache-2.0 */
/* default-bundle - a config.json to begin with, for the verb "spec": a shell in the folder "rootfs", with few rights,
 * as runc's. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include "base/arena.h"

/* JSON text, ends with a newline; in the arena. @rootless: in a user namespace where root is the user @uid of the group
 * @gid, with the network and the limits of whoever starts it. */
const char *oci_default_bundle(bool rootless, uid_t uid, gid_t gid, struct arena *arena);
