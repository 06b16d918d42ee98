/* SPDX-License-Identifier: Apache-2.0 */
/* copyup - a new tmpfs that begins with a copy of the folder it will hide. The folder is an image's, and hostile: each
 * step is from a held folder to a name in it, and nothing is followed. Folders, files, symlinks, fifos and devices,
 * with owners, modes, times and extended attributes; hard links become files of their own, sockets are left out. */
#pragma once
#include "init/plan.h"

enum { COPYUP_MAX_DEPTH = 128 };

/* @data: options of the tmpfs, with commas between; @flags: MS_*. Returns the detached mount. */
int copyup_tmpfs(int folder_fd, const char *data, unsigned long flags, struct plan_error *e);
