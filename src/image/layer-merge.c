/* SPDX-License-Identifier: Apache-2.0 */
#include "image/layer-merge.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/layer-copy.h"
#include "image/unpack-dirs.h"

/* The first copy of a file with several names waits here for the others, under its inode's number: no memory is taken
 * by what an archive holds. At the root of the new tree, since links don't lead out of a dataset or subvolume. */
struct merge {
        bool move;
        int to_root, links_fd; /* the second -1: not there yet */
        char links_name[48];
};

static bool is_opaque(int fd) {
        char v;

        return fgetxattr(fd, "trusted.overlay.opaque", &v, 1) == 1 && v == 'y';
}

static int make_room(int dir, const char *name, struct err *err) {
        if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
                return 0;
        return fs_remove_tree(dir, name, err);
}

static int open_dir(int dir, const char *name, int *ret, struct err *err) {
        *ret = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return *ret < 0 ? err_sys(err, errno, "open folder") : 0;
}

/* --- files ------------------------------------------------------------------------------------------------------- */

static int open_links(struct merge *m, struct err *err) {
        uint64_t number;

        if (m->links_fd >= 0)
                return 0;
        do {
                if (getrandom(&number, sizeof(number), 0) != sizeof(number))
                        return err_sys(err, errno, "get random bytes");
                (void) snprintf(m->links_name, sizeof(m->links_name), ".proxmox-lxcri-links-%016llx",
                                (unsigned long long) number);
        } while (mkdirat(m->to_root, m->links_name, 0700) < 0 && errno == EEXIST);
        return open_dir(m->to_root, m->links_name, &m->links_fd, err);
}

static int copy_file(struct merge *m, int from, int to, const char *name, const struct stat *st, struct err *err) {
        uint64_t bytes = 0;
        char inode[24];
        int r;

        if (st->st_nlink < 2)
                return layer_copy_file(from, name, to, name, &bytes, err);
        r = open_links(m, err);
        if (r < 0)
                return r;
        (void) snprintf(inode, sizeof(inode), "%llu", (unsigned long long) st->st_ino);
        if (linkat(m->links_fd, inode, to, name, 0) == 0)
                return 0;
        if (errno != ENOENT)
                return errno == EMLINK ? err_set(err, ERR_EXHAUSTED, "more hardlinks than this file system can hold")
                                       : err_sys(err, errno, "create hardlink");
        r = layer_copy_file(from, name, to, name, &bytes, err);
        return r == 0 && linkat(to, name, m->links_fd, inode, 0) < 0 ? err_sys(err, errno, "create hardlink") : r;
}

static int take_file(struct merge *m, int from, int to, const char *name, const struct stat *st, struct err *err) {
        int r;

        if (m->move && renameat(from, name, to, name) == 0)
                return 0;
        r = make_room(to, name, err);
        if (r < 0 || (m->move && renameat(from, name, to, name) == 0))
                return r;
        if (m->move && errno != EXDEV)
                return err_sys(err, errno, "move file");
        return copy_file(m, from, to, name, st, err);
}

/* --- folders ----------------------------------------------------------------------------------------------------- */

static int merge_folder(struct merge *m, int from, int to, struct err *err);

/* The folder @name in @to, empty when it was none before or @clear says so. */
static int open_target(int to, const char *name, bool clear, int *ret, struct err *err) {
        struct stat st;
        int r = 0;

        if (clear || (fstatat(to, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode)))
                r = make_room(to, name, err);
        if (r < 0)
                return r;
        if (mkdirat(to, name, 0700) < 0 && errno != EEXIST)
                return err_sys(err, errno, "create folder");
        return open_dir(to, name, ret, err);
}

static int take_folder(struct merge *m, int from_dir, int to_dir, const char *name, struct err *err) {
        _cleanup_(fd_closep) int from = -1, to = -1;
        int r = open_dir(from_dir, name, &from, err);

        if (r == 0)
                r = open_target(to_dir, name, is_opaque(from), &to, err);
        return r == 0 ? merge_folder(m, from, to, err) : r;
}

static int take_one(struct merge *m, int from, int to, const char *name, struct err *err) {
        struct stat st;
        int r;

        if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return err_sys(err, errno, "look at \"%.200s\"", name);
        if (S_ISDIR(st.st_mode))
                r = take_folder(m, from, to, name, err);
        else if (S_ISCHR(st.st_mode) && st.st_rdev == 0)
                r = make_room(to, name, err);
        else
                r = take_file(m, from, to, name, &st, err);
        return r < 0 && !S_ISDIR(st.st_mode) ? err_wrap(err, "\"%.200s\"", name) : r;
}

/* What overlay shows are the upper folder's alone. */
static int clear_xattrs(int fd, struct err *err) {
        _cleanup_(freep) char *names = NULL;
        ssize_t n = flistxattr(fd, NULL, 0);

        if (n <= 0)
                return n == 0 || errno == EOPNOTSUPP ? 0 : err_sys(err, errno, "list extended attributes");
        names = xcalloc(1, (size_t) n + 1);
        n = flistxattr(fd, names, (size_t) n);
        for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1)
                if (!str_eq(name, "security.selinux") && fremovexattr(fd, name) < 0 && errno != ENODATA)
                        return err_sys(err, errno, "remove extended attribute %.80s", name);
        return 0;
}

static int copy_meta(int from, int to, const struct timespec *mtime, struct err *err) {
        const struct timespec times[2] = { *mtime, *mtime };
        int r = layer_copy_meta(from, to, err);

        return r == 0 && futimens(to, times) < 0 ? err_sys(err, errno, "set time of folder") : r;
}

static int merge_entries(struct merge *m, int from, int to, struct err *err) {
        int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(closedirp) DIR *d = copy < 0 ? NULL : fdopendir(copy);
        struct dirent *e;
        int r = 0;

        if (!d) {
                r = err_sys(err, errno, "list folder");
                fd_close(copy);
                return r;
        }
        while (r == 0 && (errno = 0, e = readdir(d)))
                if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
                        r = take_one(m, from, to, e->d_name, err);
        return r == 0 && errno ? err_sys(err, errno, "list folder") : r;
}

/* Metadata last: what is made in a folder changes its time and inherits its default ACL. Its time as it was before
 * anything was moved out. The depth has a bound, UNPACK_MAX_DEPTH. */
static int merge_folder(struct merge *m, int from, int to, struct err *err) {
        struct stat st;
        int r;

        if (fstat(from, &st) < 0)
                return err_sys(err, errno, "look at folder");
        r = clear_xattrs(to, err);
        if (r == 0)
                r = merge_entries(m, from, to, err);
        return r == 0 ? copy_meta(from, to, &st.st_mtim, err) : r;
}

int layer_merge(int from, int to, bool move, struct err *err) {
        struct merge m = { .move = move, .to_root = to, .links_fd = -1 };
        struct stat st;
        int r;

        if (fstat(from, &st) < 0)
                return err_sys(err, errno, "look at folder");
        r = merge_folder(&m, from, to, err);
        if (m.links_fd < 0)
                return r;
        fd_close(m.links_fd);
        if (r == 0)
                r = fs_remove_tree(to, m.links_name, err);
        return r == 0 ? copy_meta(from, to, &st.st_mtim, err) : r; /* its time once more */
}
