/* SPDX-License-Identifier: Apache-2.0 */
#include "image/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

/* Octal escapes of mountinfo ("\040" is a blank), in place. */
static void unescape(char *s) {
        char *to = s;

        for (; *s; s++) {
                if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
                    s[3] <= '7') {
                        *to++ = (char) ((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
                        s += 3;
                } else {
                        *to++ = *s;
                }
        }
        *to = '\0';
}

/* Fields of a line: id, parent, major:minor, root, mount point, ... */
static char *mount_point_if(char *line, uint64_t wanted_id) {
        char *field = NULL;
        uint64_t id;

        for (int i = 0; i < 5; i++) {
                field = strsep(&line, " ");
                if (!field || (i == 0 && (!str_to_u64(field, &id) || id != wanted_id)))
                        return NULL;
        }
        unescape(field);
        return xstrdup(field);
}

/* @ret NULL: it has no line. */
static int look_up(uint64_t id, char **ret, struct err *err) {
        _cleanup_(fclosep) FILE *f = fopen("/proc/self/mountinfo", "re");
        _cleanup_(freep) char *line = NULL;
        size_t cap = 0;

        *ret = NULL;
        if (!f)
                return err_sys(err, errno, "open /proc/self/mountinfo");
        while (!*ret && getline(&line, &cap, f) > 0)
                *ret = mount_point_if(line, id);
        return 0;
}

int mountpoint_of(int dirfd, char **ret, struct err *err) {
        struct statx stx;
        int r;

        if (statx(dirfd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0)
                return err_sys(err, errno, "statx");
        r = look_up(stx.stx_mnt_id, ret, err);
        /* Below a chroot the mount may have no line: then it is our root. */
        if (r == 0 && !*ret)
                *ret = xstrdup("/");
        return r;
}

int mount_id_of(int fd, struct mount_id *ret, struct err *err) {
        struct statx stx;

        if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0)
                return err_sys(err, errno, "look at the mount");
        *ret = (struct mount_id){ stx.stx_mnt_id, stx.stx_dev_major, stx.stx_dev_minor };
        return 0;
}

/* mountinfo's own device is not that of a btrfs subvolume's files. */
static bool is_another(const char *path, const struct mount_id *mount) {
        struct statx stx;

        return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_MNT_ID, &stx) == 0 &&
               stx.stx_mnt_id == mount->id && (stx.stx_dev_major != mount->major || stx.stx_dev_minor != mount->minor);
}

int mountpoint_of_id(const struct mount_id *mount, char **ret, struct err *err) {
        int r = look_up(mount->id, ret, err);

        if (r == 0 && *ret && is_another(*ret, mount)) {
                free(*ret);
                *ret = NULL;
        }
        return r;
}
