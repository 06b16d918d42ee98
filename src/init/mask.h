/* SPDX-License-Identifier: Apache-2.0 */
/* mask - hides paths and makes them read-only. A missing path is fine; a path that can't be dealt with is an error,
 * never ignored. */
#pragma once
#include "init/plan.h"

struct mask {
        int root_fd;  /* borrowed */
        int null_fd;  /* the container's /dev/null, proven to be it, when first needed */
        int tmpfs_fd; /* the empty folder that all masked folders share */
};

void mask_init(struct mask *m, int root_fd);
void mask_done(struct mask *m);
/* @label: SELinux context of the file system that hides folders, "": none; the first one counts. */
int mask_path(struct mask *m, const char *path, const char *label, struct plan_error *e);
int mask_readonly(struct mask *m, const char *path, struct plan_error *e);
