/* SPDX-License-Identifier: Apache-2.0 */
/* fs-remove - removal of a tree. Its depth is in the hand of whoever filled it, so the walk goes down a fixed number of
 * levels and moves what is deeper up to the top, where its turn comes later: descriptors and memory have a bound. Every
 * step is from an open folder to a name in it, so nobody who swaps folders for symlinks leads it elsewhere. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"

enum { LEVELS = 32 };

struct level {
        DIR *dir;
        char name[NAME_MAX + 1]; /* in the level above */
};

struct removal {
        struct level levels[LEVELS];
        size_t n;
        dev_t dev;
        uint64_t n_moved, n_names;
};

/* Takes @fd. 0 or -errno. */
static int enter(struct removal *rm, int fd, const char *name) {
        struct level *l = &rm->levels[rm->n];
        struct stat st;
        int r = 0;

        if (fstat(fd, &st) < 0)
                r = -errno;
        else if (st.st_dev != rm->dev)
                r = -EBUSY;
        else if (!(l->dir = fdopendir(fd)))
                r = -errno;
        if (r < 0) {
                (void) close(fd);
                return r;
        }
        (void) snprintf(l->name, sizeof(l->name), "%s", name);
        rm->n++;
        return 0;
}

/* What is immutable or append-only (chattr(1)) can't be removed, nor what is in such a folder. Is it no more? */
static bool unmark(int fd) {
        int flags;

        if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || !(flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)))
                return false;
        flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
        return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

static bool unmark_at(int dir_fd, const char *name) {
        _cleanup_(fd_closep) int fd = -1;
        struct stat st;

        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
                return false;
        fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        return fd >= 0 && unmark(fd);
}

/* Both, since either is enough to fail. */
static bool unmark_in(int dir_fd, const char *name) {
        bool folder = unmark(dir_fd), entry = unmark_at(dir_fd, name);

        return folder || entry;
}

/* unlinkat(2). 0 or -errno. */
static int remove_in(int dir_fd, const char *name, int flags) {
        int r = unlinkat(dir_fd, name, flags) < 0 ? -errno : 0;

        if (r == -EPERM && unmark_in(dir_fd, name))
                r = unlinkat(dir_fd, name, flags) < 0 ? -errno : 0;
        return r;
}

static int leave(struct removal *rm) {
        struct level *l = &rm->levels[--rm->n];
        int r;

        (void) closedir(l->dir);
        r = remove_in(dirfd(l[-1].dir), l->name, AT_REMOVEDIR);
        return r == -ENOENT ? 0 : r;
}

/* renameat(2). 0 or -errno. */
static int move_in(int from, const char *from_name, int to, const char *to_name) {
        int r = renameat(from, from_name, to, to_name) < 0 ? -errno : 0;
        bool again = r == -EPERM && unmark(to);

        if (r == -EPERM && (unmark_in(from, from_name) || again))
                r = renameat(from, from_name, to, to_name) < 0 ? -errno : 0;
        return r;
}

/* Names that are taken are somebody's in the tree, too: another is found in as many attempts as it has of them. */
static int move_to_top(struct removal *rm, int dir_fd, const char *name) {
        char to[32];
        int r;

        do {
                (void) snprintf(to, sizeof(to), ".removed-%llu", (unsigned long long) rm->n_names++);
                r = move_in(dir_fd, name, dirfd(rm->levels[0].dir), to);
        } while (r == -EEXIST || r == -ENOTEMPTY || r == -ENOTDIR);
        rm->n_moved += r == 0;
        return r == -ENOENT ? 0 : r;
}

/* What is mounted in there is not the tree's. */
static int open_folder(int dir_fd, const char *name) {
        struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_XDEV };
        long fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));

        if (fd < 0)
                return errno == EXDEV ? -EBUSY : -errno;
        return (int) fd;
}

static int visit(struct removal *rm, const struct dirent *e) {
        int dir_fd = dirfd(rm->levels[rm->n - 1].dir), fd;

        if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                return 0;
        if (e->d_type != DT_DIR && remove_in(dir_fd, e->d_name, 0) == 0)
                return 0;
        if (rm->n == LEVELS)
                return move_to_top(rm, dir_fd, e->d_name);
        fd = open_folder(dir_fd, e->d_name);
        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        return enter(rm, fd, e->d_name);
}

/* All that is there now, down to what is moved up for the next time. */
static int pass(struct removal *rm) {
        const struct dirent *e;
        int r = 0;

        rewinddir(rm->levels[0].dir);
        while (r == 0) {
                errno = 0;
                e = readdir(rm->levels[rm->n - 1].dir);
                if (e)
                        r = visit(rm, e);
                else if (errno)
                        r = -errno;
                else if (rm->n == 1)
                        break;
                else
                        r = leave(rm);
        }
        return r;
}

/* Empties the folder behind @fd (taken). 0 or -errno. */
static int remove_contents(int fd) {
        struct removal rm = { 0 };
        struct stat st;
        uint64_t before;
        int r;

        if (fstat(fd, &st) < 0) {
                r = -errno;
                (void) close(fd);
                return r;
        }
        rm.dev = st.st_dev;
        r = enter(&rm, fd, "");
        do {
                before = rm.n_moved;
                if (r == 0)
                        r = pass(&rm);
        } while (r == 0 && rm.n_moved != before);
        while (rm.n > 0)
                (void) closedir(rm.levels[--rm.n].dir);
        return r;
}

int fs_remove_tree(int dirfd, const char *path, struct err *err) {
        int fd, r;

        if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return err_sys(err, errno, "remove %s", path);
        fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : err_sys(err, errno, "open %s to remove it", path);
        r = remove_contents(fd);
        if (r == 0 && unlinkat(dirfd, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
                r = -errno;
        if (r == -EPERM && unmark_at(dirfd, path)) /* the folder that it is in is not the tree's */
                r = unlinkat(dirfd, path, AT_REMOVEDIR) < 0 ? -errno : 0;
        return r < 0 ? err_sys(err, -r, "remove %s", path) : 0;
}
