/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "keeper/keeper.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x4
#endif

enum { MOUNTINFO_MAX = 64 << 20 };

/* mountinfo writes blanks as \040. */
static void unescape(char *s) {
        char *to = s;

        for (; *s; s++)
                if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
                        *to++ = (char) ((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
                        s += 3;
                } else {
                        *to++ = *s;
                }
        *to = '\0';
}

/* Is the mount point @m needed: an ancestor of what we work with, or one of the few that programs expect? */
static bool is_needed(const struct keeper *k, const char *m) {
        const char *const paths[] = { k->state_dir, "/usr/lib", "/proc", "/sys", "/dev", NULL };
        size_t n = strlen(m);

        if (str_eq(m, "/"))
                return true;
        for (size_t i = 0; paths[i]; i++)
                if (strncmp(paths[i], m, n) == 0 && (paths[i][n] == '/' || paths[i][n] == '\0'))
                        return true;
        return false;
}

/* Each monitor and each container copies this mount table, and a thousand mounts cost milliseconds: keep the few that
 * matter. */
static int prune_mounts(const struct keeper *k, struct err *err) {
        _cleanup_(freep) char *text = NULL;
        char **points = NULL, *line, *save = NULL, *field;
        size_t n = 0, cap = 0;
        int r;

        r = fs_read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, NULL, err);
        if (r < 0)
                return r;
        for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                field = line;
                for (int i = 0; field && i < 4; i++)
                        field = strchr(field, ' ') ? strchr(field, ' ') + 1 : NULL;
                if (!field)
                        continue;
                field[strcspn(field, " ")] = '\0';
                unescape(field);
                xgrow(points, n, cap);
                points[n++] = field;
        }
        /* Last mounted first; what lies below a needed one goes too. Some are busy below others: detach takes them
         * along. */
        while (n--)
                if (!is_needed(k, points[n]))
                        (void) umount2(points[n], MNT_DETACH);
        free(points);
        return 0;
}

/* liblxc keeps lock folders in /run/lxc: give it a /run of its own, with our state folder put back if it was there. */
static int private_run(const struct keeper *k, struct err *err) {
        _cleanup_(fd_closep) int state = -1;

        state = (int) syscall(SYS_open_tree, AT_FDCWD, k->state_dir, OPEN_TREE_CLONE | O_CLOEXEC | AT_RECURSIVE);
        if (state < 0)
                return err_sys(err, errno, "take hold of %s", k->state_dir);
        if (mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=16m") < 0)
                return err_sys(err, errno, "mount a private /run");
        if (access(k->state_dir, F_OK) < 0) {
                if (fs_mkdir_p(k->state_dir, 0711, err) < 0)
                        return -(int) err->code;
                if (syscall(SYS_move_mount, state, "", AT_FDCWD, k->state_dir, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                        return err_sys(err, errno, "put %s back", k->state_dir);
        }
        return 0;
}

int keeper_isolate(struct keeper *k, int netns_fd, struct err *err) {
        int r;

        /* liblxc's command sockets are abstract, so they live in a network namespace, and check only for uid 0: a root
         * container with the host's network must not reach them. */
        if (setns(netns_fd, CLONE_NEWNET) < 0)
                return err_sys(err, errno, "enter the keeper's network namespace");
        if (unshare(CLONE_NEWNS) < 0)
                return err_sys(err, errno, "unshare mount namespace");
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return err_sys(err, errno, "make mounts private");
        r = prune_mounts(k, err);
        if (r < 0)
                return r;
        r = private_run(k, err);
        if (r < 0)
                return r;
        /* Without cgroup mounts in sight liblxc leaves cgroups alone: they are the daemon's matter. */
        if (access("/sys/fs/cgroup", F_OK) == 0 &&
            mount("none", "/sys/fs/cgroup", "tmpfs", MS_RDONLY, "size=4k,mode=755") < 0)
                return err_sys(err, errno, "hide /sys/fs/cgroup");
        /* Orphaned inits of killed monitors come to us to be reaped. */
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                return err_sys(err, errno, "become a subreaper");
        return 0;
}
