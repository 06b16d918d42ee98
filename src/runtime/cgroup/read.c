/* SPDX-License-Identifier: Apache-2.0 */
/* read - files of a group as they are, for who shows them. */
#include <errno.h>
#include <string.h>
#include "runtime/cgroup/internal.h"

static int hierarchy(const struct cgroups *c, const char *controller) {
        int ctl = ctl_find(controller, strlen(controller));

        return ctl < 0 ? c->unified : c->of[ctl];
}

bool cgroups_is_v2(const struct cgroups *c, const char *controller) {
        int h = hierarchy(c, controller);

        return h >= 0 && c->hiers[h].v2;
}

ssize_t cgroup_read(struct cgroups *c, const char *path, const char *controller, const char *file, char *buf,
                    size_t size) {
        int h = hierarchy(c, controller);
        struct group g;
        struct err err;
        ssize_t n;

        if (h < 0 || path_check(path, &err) < 0)
                return -ENOENT;
        group_init(&g, c, path);
        n = group_read(&g, h, file, buf, size);
        group_done(&g);
        return n;
}
