/* SPDX-License-Identifier: Apache-2.0 */
/* fs-remove - removal of a tree. Its depth is in the hand of whoever filled it, so the walk goes down a fixed number of
 * levels and moves what is deeper up to the top, where its turn comes later: descriptors and memory have a bound. Every
 * step is from an open folder to a name in it, so nobody who swaps folders for symlinks leads it elsewhere. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
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

static int leave(struct removal *rm) {
        struct level *l = &rm->levels[--rm->n];

        (void) closedir(l->dir);
        return unlinkat(dirfd(l[-1].dir), l->name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

/* Names that are taken are somebody's in the tree, too: another is found in as many attempts as it has of them. */
static int move_to_top(struct removal *rm, int dir_fd, const char *name) {
        char to[32];

        do {
                (void) snprintf(to, sizeof(to), ".removed-%llu", (unsigned long long) rm->n_names++);
                if (renameat(dir_fd, name, dirfd(rm->levels[0].dir), to) == 0) {
                        rm->n_moved++;
                        return 0;
                }
        } while (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR);
        return errno == ENOENT ? 0 : -errno;
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
        if (e->d_type != DT_DIR && unlinkat(dir_fd, e->d_name, 0) == 0)
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
        return r < 0 ? err_sys(err, -r, "remove %s", path) : 0;
}
