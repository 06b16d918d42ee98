/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot-home - snapshots whose upper and work folder are on a file system of others, who may change them; see
 * snapshot_create_at(). */
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "image/snapshot.h"

/* What overlay has made as root of the host gets the owner of the folder: he is to be able to copy all that is there.
 */
static int give_work(int home_fd, struct err *err) {
        static const char *const names[] = { "work", "work/work" };
        struct stat st;

        if (fstat(home_fd, &st) < 0)
                return err_sys(err, errno, "look at the folder of the writable layer");
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (fchownat(home_fd, names[i], st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
                        return err_sys(err, errno, "give away the work folder of the writable layer");
        return 0;
}

static const char *file_system_name(int fd) {
        static const struct {
                unsigned type;
                const char *name;
        } names[] = { { 0xEF53, "ext4" }, { 0x58465342, "xfs" }, { 0x9123683E, "btrfs" }, { 0x2FC12FC1, "zfs" } };
        struct statfs st;

        if (fstatfs(fd, &st) < 0)
                return "unknown";
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if ((unsigned) st.f_type == names[i].type)
                        return names[i].name;
        return "another";
}

/* Overlay makes do with a file system that can't be written to as it needs, and is read-only then. */
static int check_writable(int mount_fd, struct err *err) {
        struct statvfs st;

        if (fstatvfs(mount_fd, &st) < 0)
                return err_sys(err, errno, "look at the new mount");
        return st.f_flag & ST_RDONLY ? err_set(err, ERR_PRECONDITION, "overlay has mounted it read-only") : 0;
}

/* Whoever owns the folder may have put links where upper and work were: they lead nowhere. */
int snapshot_mount_at_home(const struct overlay_args *args, int *ret_mount_fd, struct err *err) {
        struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSYMFOLLOW | MOUNT_ATTR_NODEV };
        _cleanup_(fd_closep) int fd = -1;
        int r;

        if (mount_setattr(args->upper_mount_fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
                return err_sys(err, errno, "make the mount of the writable layer follow no links");
        r = overlay_mount(args, &fd, err);
        if (r == 0)
                r = check_writable(fd, err);
        if (r < 0)
                return err_wrap(
                        err, "use a folder on %s as writable layer (ext4, xfs and btrfs can be, and zfs from 2.2 on)",
                        file_system_name(args->upper_mount_fd));
        r = give_work(args->upper_mount_fd, err);
        if (r == 0)
                *ret_mount_fd = TAKE_FD(fd);
        return r;
}
