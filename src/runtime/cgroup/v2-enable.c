/* SPDX-License-Identifier: Apache-2.0 */
/* v2-enable - the controllers that parents must hand down to a v2 group. Kernel document: admin-guide/cgroup-v2. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "runtime/cgroup/internal.h"

static unsigned read_controllers(int dirfd, const char *file) {
        char text[512];
        unsigned mask = 0;

        if (file_read_at(dirfd, file, text, sizeof(text)) <= 0)
                return 0;
        for (const char *p = text; *p; p += *p == ' ') {
                size_t len = strcspn(p, " ");
                int ctl = ctl_find(p, len);

                if (ctl >= 0)
                        mask |= 1U << ctl;
                p += len;
        }
        return mask;
}

static int hand_down(int rootfd, const char *folder, unsigned mask) {
        char text[256], file[GROUP_PATH_MAX + 64];
        size_t n = 0;

        for (int ctl = 0; ctl < CTL_MAX; ctl++)
                if (mask & 1U << ctl)
                        n += (size_t) snprintf(text + n, sizeof(text) - n, "%s+%s", n ? " " : "",
                                               ctl_name((enum ctl) ctl, true));
        (void) snprintf(file, sizeof(file), "%s/cgroup.subtree_control", folder);
        return file_write_at(rootfd, file, text);
}

static int enable_in(struct group *g, const char *folder, unsigned need, unsigned want, struct err *err) {
        int rootfd = g->c->hiers[g->c->unified].fd, r;
        char file[GROUP_PATH_MAX + 64];
        unsigned have;

        (void) snprintf(file, sizeof(file), "%s/cgroup.subtree_control", folder);
        have = read_controllers(rootfd, file);
        if (((need | want) & ~have) == 0 || (r = hand_down(rootfd, folder, (need | want) & ~have)) == 0)
                return 0;
        if ((need & ~have) == 0 || (r = hand_down(rootfd, folder, need & ~have)) == 0) {
                for (int ctl = 0; ctl < CTL_MAX; ctl++) /* of the others, those that can be */
                        if (want & ~need & ~have & 1U << ctl)
                                (void) hand_down(rootfd, folder, 1U << ctl);
                return 0;
        }
        if (r == -EBUSY)
                return err_set(err, ERR_PRECONDITION,
                               "%s/%s holds processes of its own, so it can't hand controllers down to groups below it",
                               g->c->hiers[g->c->unified].mount, folder);
        return err_sys(err, -r, "enable controllers in %s/%s/cgroup.subtree_control", g->c->hiers[g->c->unified].mount,
                       folder);
}

int v2_enable(struct group *g, unsigned need, unsigned want, struct err *err) {
        char folder[GROUP_PATH_MAX + 2];
        size_t last = (size_t) (strrchr(g->path, '/') - g->path);
        int fd, r;

        if (!(need | want))
                return 0;
        fd = group_fd(g, g->c->unified);
        if (fd < 0)
                return err_sys(err, -fd, "open it");
        if (((need | want) & ~read_controllers(fd, "cgroup.controllers")) == 0)
                return 0;
        for (size_t end = 0;; end += 1 + strcspn(g->path + end + 1, "/")) {
                (void) snprintf(folder, sizeof(folder), ".%.*s", (int) end, g->path);
                r = enable_in(g, folder, need, want, err);
                if (r < 0)
                        return r;
                if (end >= last)
                        return 0;
        }
}
