/* SPDX-License-Identifier: Apache-2.0 */
/* brief-mount - an image that is mounted for as long as a verb runs. A child process waits for the end of this one,
 * whatever it is, SIGKILL too, and takes away what is left then: the mount, its folder, and a half-made folder. */
#pragma once
#include <sys/types.h>
#include "cli/cli.h"

struct brief_mount {
        struct cli *cli;
        char *path;  /* where it is; NULL: nothing was begun */
        int fd;      /* its root, open for reading */
        int life_fd; /* the child waits for its end */
        bool mounted;
};

/* @image read-only. @half_made: a folder that goes, too, should it be there in the end (when complete it has another
 * name); NULL: none. brief_mount_done() in any case. */
_must_use_ int brief_mount(struct brief_mount *m, struct cli *cli, const char *image, const char *half_made,
                           struct err *err);
void brief_mount_done(struct brief_mount *m);
