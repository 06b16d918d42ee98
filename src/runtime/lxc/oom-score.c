/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lxc/oom-score.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/proc.h"

/* @init_fd was opened before, so if init still lives after the opening of the file, the file is its. */
int oom_score_set(const struct spec *spec, pid_t pid, int init_fd, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        char path[64], text[16];
        int n;

        if (!spec->process.has_oom_score_adj || (!SPEC_HAS_USER_NS(spec) && !spec->by_crun))
                return 0;
        (void) snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int) pid);
        n = snprintf(text, sizeof(text), "%d", spec->process.oom_score_adj);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || proc_wait_gone(init_fd, 0))
                return err_set(err, ERR_INTERNAL, "init ended before its oom_score_adj could be set");
        if (write(fd, text, (size_t) n) != n && errno != EACCES) /* as tolerant as init */
                return err_sys(err, errno, "set oom_score_adj to %s", text);
        return 0;
}
