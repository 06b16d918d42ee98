/* SPDX-License-Identifier: Apache-2.0 */
/* mask - see mask.h. What is bound over a masked file is /dev/null itself by descriptor: an image may have put a
 * symlink to anything in its place (CVE-2025-31133). */
#include "init/mask.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "init/fail.h"
#include "init/path.h"
#include "init/sys.h"

enum { NULL_MAJOR = 1, NULL_MINOR = 3 };

void mask_init(struct mask *m, int root_fd) {
        *m = (struct mask){ .root_fd = root_fd, .null_fd = -1, .tmpfs_fd = -1 };
}

void mask_done(struct mask *m) {
        if (m->null_fd >= 0)
                (void) close(m->null_fd);
        if (m->tmpfs_fd >= 0)
                (void) close(m->tmpfs_fd);
        m->null_fd = m->tmpfs_fd = -1;
}

/* Open what is to be hidden. 0: nothing there. A list of paths below /proc is meant for a procfs: on anything else it
 * would hide the wrong thing and leave the right one open, wherever that is. */
static int open_target(struct mask *m, const char *path, int *ret_fd, struct plan_error *e) {
        int fd = path_open(m->root_fd, path, O_PATH), proc;

        *ret_fd = -1;
        if (fd == -ENOENT || fd == -ENOTDIR)
                return 0;
        if (fd < 0)
                return fail_set(e, -fd, "open ", path, NULL);
        if (strncmp(path, "/proc/", 6) == 0) {
                proc = path_open_proc(m->root_fd);
                if (proc < 0) {
                        (void) close(fd);
                        return fail_set(e, -proc, "protect ", path, ": /proc is not the proc file system", NULL);
                }
                (void) close(proc);
        }
        *ret_fd = fd;
        return 0;
}

static int clone_on(int source_fd, unsigned flags, const struct sys_mount_attr *attr, int target_fd) {
        int tree = sys_open_tree(source_fd, "", SYS_OPEN_TREE_CLONE | SYS_OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | flags),
            r = 0;

        if (tree < 0)
                return -errno;
        if ((attr && sys_mount_setattr(tree, flags, attr) < 0) || sys_move_mount(tree, target_fd) < 0)
                r = -errno;
        (void) close(tree);
        return r;
}

static int open_null(struct mask *m) {
        struct stat st;
        int fd = path_open(m->root_fd, "/dev/null", O_PATH | O_NOFOLLOW);

        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(NULL_MAJOR, NULL_MINOR)) {
                (void) close(fd);
                return -ENODEV;
        }
        m->null_fd = fd;
        return 0;
}

/* One file system for all masked folders, mounted when first needed and cloned from there. */
static int mount_empty(struct mask *m, int target_fd, const char *label) {
        int fs, fd = -1, r = 0;

        if (m->tmpfs_fd >= 0)
                return clone_on(m->tmpfs_fd, 0, NULL, target_fd);
        fs = sys_fsopen("tmpfs");
        if (fs < 0)
                return -errno;
        if (sys_fsconfig(fs, SYS_FSCONFIG_SET_STRING, "nr_inodes", "1") < 0 ||
            (*label && sys_fsconfig(fs, SYS_FSCONFIG_SET_STRING, "context", label) < 0) ||
            sys_fsconfig(fs, SYS_FSCONFIG_CMD_CREATE, NULL, NULL) < 0)
                r = -errno;
        if (r == 0) {
                fd = sys_fsmount(fs, SYS_ATTR_RDONLY | SYS_ATTR_NOSUID | SYS_ATTR_NODEV | SYS_ATTR_NOEXEC);
                if (fd < 0 || sys_move_mount(fd, target_fd) < 0)
                        r = -errno;
        }
        (void) close(fs);
        if (r == 0)
                m->tmpfs_fd = fd;
        else if (fd >= 0)
                (void) close(fd);
        return r;
}

static int bind_null(struct mask *m, int target_fd, const char *path, struct plan_error *e) {
        int r = m->null_fd < 0 ? open_null(m) : 0;

        if (r == -ENODEV)
                return fail_set(
                        e, 0, "mask ", path, ": the container's /dev/null, which is to hide it, is not the null ",
                        "device (character device 1:3); make it that, or leave the path out of maskedPaths", NULL);
        if (r < 0)
                return fail_set(e, -r, "mask ", path, ": open the container's /dev/null, which is to hide it", NULL);
        r = clone_on(m->null_fd, 0, NULL, target_fd);
        return r < 0 ? fail_set(e, -r, "mask ", path, NULL) : 0;
}

static int hide(struct mask *m, int target_fd, const char *path, const char *label, struct plan_error *e) {
        struct stat st;
        int r;

        if (fstat(target_fd, &st) < 0)
                return fail_set(e, errno, "mask ", path, NULL);
        if (!S_ISDIR(st.st_mode))
                return bind_null(m, target_fd, path, e);
        r = mount_empty(m, target_fd, label);
        return r < 0 ? fail_set(e, -r, "mask ", path, NULL) : 0;
}

int mask_path(struct mask *m, const char *path, const char *label, struct plan_error *e) {
        int fd, r;

        if (open_target(m, path, &fd, e) < 0)
                return -1;
        if (fd < 0)
                return 0;
        r = hide(m, fd, path, label, e);
        (void) close(fd);
        return r;
}

int mask_readonly(struct mask *m, const char *path, struct plan_error *e) {
        struct sys_mount_attr attr = { .set = SYS_ATTR_RDONLY };
        int fd, r;

        if (open_target(m, path, &fd, e) < 0)
                return -1;
        if (fd < 0)
                return 0;
        r = clone_on(fd, SYS_AT_RECURSIVE, &attr, fd);
        (void) close(fd);
        return r < 0 ? fail_set(e, -r, "make ", path, " read-only", NULL) : 0;
}
