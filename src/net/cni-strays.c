/* SPDX-License-Identifier: Apache-2.0 */
/* cni-strays - plug-ins whose daemon was killed: they go on, and an ADD among them would give out an address after the
 * DEL that is to free it. Found by the container id in their environment. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/str.h"
#include "net/net.h"

enum { ENVIRON_MAX = 4 << 20, KILLED_WAIT_MS = 2000 };

/* Containers can call themselves what they like, but their mounts are others. */
static bool shares_our_mounts(int proc_fd) {
        char ours[64] = "", theirs[64] = "";

        return readlink("/proc/self/ns/mnt", ours, sizeof(ours) - 1) > 0 &&
               readlinkat(proc_fd, "ns/mnt", theirs, sizeof(theirs) - 1) > 0 && str_eq(ours, theirs);
}

static bool works_for(int proc_fd, const char *id) {
        _cleanup_(freep) char *text = NULL;
        char wanted[256];
        struct err ignored;
        size_t len;

        if (fs_read_file(proc_fd, "environ", ENVIRON_MAX, &text, &len, &ignored) < 0)
                return false;
        (void) snprintf(wanted, sizeof(wanted), "CNI_CONTAINERID=%s", id);
        for (const char *p = text; p < text + len; p += strlen(p) + 1)
                if (str_eq(p, wanted))
                        return true;
        return false;
}

/* A pidfd; -1: there is none. */
static int find_stray(const char *id) {
        _cleanup_(closedirp) DIR *d = opendir("/proc");
        struct dirent *e;

        while (d && (e = readdir(d))) {
                _cleanup_(fd_closep) int proc_fd = -1, pidfd = -1;
                uint64_t pid;

                if (!str_to_u64(e->d_name, &pid) || pid > INT32_MAX || (pid_t) pid == getpid())
                        continue;
                pidfd = (int) syscall(SYS_pidfd_open, (pid_t) pid, 0);
                proc_fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                /* Opened after the pidfd, and seen alive after: so it is the same process. */
                if (pidfd >= 0 && proc_fd >= 0 && shares_our_mounts(proc_fd) && works_for(proc_fd, id) &&
                    !proc_wait_gone(pidfd, 0))
                        return TAKE_FD(pidfd);
        }
        return -1;
}

void cni_end_strays(const char *id, int patience_ms) {
        uint64_t until = clock_monotonic_ns() + (uint64_t) patience_ms * 1000000, now;

        for (;;) {
                _cleanup_(fd_closep) int stray = find_stray(id);

                if (stray < 0)
                        return;
                log_info("a CNI plug-in that another daemon started still runs", "pod", id, NULL);
                now = clock_monotonic_ns();
                if (proc_wait_gone(stray, now < until ? (int) ((until - now) / 1000000) : 0))
                        continue;
                (void) proc_signal(stray, SIGKILL);
                if (!proc_wait_gone(stray, KILLED_WAIT_MS)) {
                        log_warn("a CNI plug-in does not end", "pod", id, NULL);
                        return;
                }
        }
}
