/* SPDX-License-Identifier: Apache-2.0 */
/* descriptors - the keeper's table of open files, some nine per container. A process that it makes gets a copy of the
 * table, and with thousands of files that costs as much as all else the keeper does for an exec. So what stays open is
 * kept above what comes with a request, and who needs the latter only leaves the rest behind. */
#pragma once
#include <fcntl.h>
#include "base/cleanup.h"

enum { FD_STAYS_MIN = 256 };

/* @fd, or its duplicate among those that stay; @fd is closed then. -1 stays -1. Where numbers run out: @fd. */
static inline int fd_stays(int fd) {
        int high = fd < 0 || fd >= FD_STAYS_MIN ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FD_STAYS_MIN);

        if (high < 0)
                return fd;
        (void) fd_close(fd);
        return high;
}
