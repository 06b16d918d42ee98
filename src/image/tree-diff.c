/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tree-diff.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/attr.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "image/tree-shift.h"

enum { BUF_BYTES = 128 * 1024, NAMES_MAX = 64 * 1024, VALUE_MAX = 64 * 1024 };
_Static_assert(TREE_DIFF_BUFFERS == 2 * BUF_BYTES, "two of them");

struct diff {
        int a_fd, b_fd;
        const struct id_maps *owners; /* NULL: the same on both sides */
        const atomic_bool *give_up;
        char *a_buf, *b_buf;
        struct tree_diff *found;
        size_t n; /* entries */
};

static void fts_closep(FTS **fts) {
        if (*fts)
                (void) fts_close(*fts);
}

static int differs(struct diff *d, const char *path, const char *what) {
        d->found->same = false;
        (void) snprintf(d->found->path, sizeof(d->found->path), "/%s", path);
        (void) snprintf(d->found->what, sizeof(d->found->what), "%s", what);
        return 1;
}

/* What of two entries is not the same; NULL: nothing that stat(2) tells. */
static const char *stat_diff(const struct stat *a, const struct stat *b, const struct id_maps *owners) {
        uid_t uid = owners ? tree_shift_id(owners->uids, owners->n_uids, a->st_uid) : a->st_uid;
        gid_t gid = owners ? tree_shift_id(owners->gids, owners->n_gids, a->st_gid) : a->st_gid;

        if ((a->st_mode & S_IFMT) != (b->st_mode & S_IFMT))
                return "kind of file";
        if (a->st_mode != b->st_mode)
                return "mode";
        if (uid != b->st_uid || gid != b->st_gid)
                return "owner";
        if (S_ISDIR(a->st_mode) || (S_ISCHR(a->st_mode) && a->st_rdev == 0)) /* the second: overlay's whiteout */
                return a->st_rdev == b->st_rdev || S_ISDIR(a->st_mode) ? NULL : "device";
        if (a->st_nlink != b->st_nlink)
                return "number of hard links";
        if (a->st_size != b->st_size)
                return "size";
        if (a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec)
                return "time of modification";
        if ((S_ISCHR(a->st_mode) || S_ISBLK(a->st_mode)) && a->st_rdev != b->st_rdev)
                return "device";
        return NULL;
}

/* Reads both to the end. */
static int contents_differ(struct diff *d, const char *path, struct err *err) {
        _cleanup_(fd_closep) int a = openat(d->a_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
        _cleanup_(fd_closep) int b = openat(d->b_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
        ssize_t n;

        if (a < 0 || b < 0)
                return err_sys(err, errno, "open %.200s", path);
        do {
                if (d->give_up && atomic_load(d->give_up))
                        return err_set(err, ERR_CANCELLED, "cancelled");
                n = read(a, d->a_buf, BUF_BYTES);
                if (n < 0 || read(b, d->b_buf, BUF_BYTES) != n || memcmp(d->a_buf, d->b_buf, (size_t) n) != 0)
                        return differs(d, path, n < 0 ? strerror(errno) : "content");
        } while (n > 0);
        return 0;
}

static int links_differ(struct diff *d, const char *path, struct err *err) {
        ssize_t a = readlinkat(d->a_fd, path, d->a_buf, BUF_BYTES), b = readlinkat(d->b_fd, path, d->b_buf, BUF_BYTES);

        if (a < 0 || b < 0)
                return err_sys(err, errno, "read symlink %.200s", path);
        return a == b && memcmp(d->a_buf, d->b_buf, (size_t) a) == 0 ? 0 : differs(d, path, "target of the symlink");
}

/* SELinux' label is the host's matter, not the archive's. */
static size_t count_xattrs(const char *list, size_t len) {
        size_t n = 0;

        for (const char *name = list; name < list + len; name += strlen(name) + 1)
                n += !str_eq(name, "security.selinux");
        return n;
}

/* Paths through /proc: there is no lgetxattrat(2) on older kernels, and what is a symlink itself has attributes, too.
 */
static int xattrs_differ(struct diff *d, const char *path, struct err *err) {
        char a_path[4096 + 32], b_path[4096 + 32];
        ssize_t a_len, b_len;

        (void) snprintf(a_path, sizeof(a_path), "/proc/self/fd/%d/%s", d->a_fd, path);
        (void) snprintf(b_path, sizeof(b_path), "/proc/self/fd/%d/%s", d->b_fd, path);
        a_len = llistxattr(a_path, d->a_buf, NAMES_MAX);
        b_len = llistxattr(b_path, d->b_buf, NAMES_MAX);
        if (a_len < 0 || b_len < 0)
                return errno == ENOTSUP ? 0 : err_sys(err, errno, "list attributes of %.200s", path);
        if (count_xattrs(d->a_buf, (size_t) a_len) != count_xattrs(d->b_buf, (size_t) b_len))
                return differs(d, path, "extended attributes");
        for (const char *name = d->a_buf; name < d->a_buf + a_len; name += strlen(name) + 1) {
                char *a = d->a_buf + NAMES_MAX, *b = d->b_buf;
                ssize_t n = lgetxattr(a_path, name, a, VALUE_MAX);

                if (n >= 0 && d->owners)
                        n = (ssize_t) tree_shift_xattr(name, a, (size_t) n, d->owners);
                if (!str_eq(name, "security.selinux") &&
                    (n < 0 || lgetxattr(b_path, name, b, VALUE_MAX) != n || memcmp(a, b, (size_t) n) != 0))
                        return differs(d, path, "extended attributes");
        }
        return 0;
}

/* @path: below both; "." is the root. > 0: they differ. */
static int entry_differs(struct diff *d, const char *path, const struct stat *a, struct err *err) {
        const char *what;
        struct stat b;
        int r;

        if (fstatat(d->b_fd, path, &b, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT || errno == ENOTDIR ? differs(d, path, "it is missing")
                                                           : err_sys(err, errno, "look at %.200s", path);
        what = stat_diff(a, &b, d->owners);
        if (what)
                return differs(d, path, what);
        r = xattrs_differ(d, path, err);
        if (r == 0 && S_ISREG(a->st_mode))
                r = contents_differ(d, path, err);
        else if (r == 0 && S_ISLNK(a->st_mode))
                r = links_differ(d, path, err);
        return r;
}

/* Walks the tree @fd: each entry to @compare, which may end it, or NULL: only counts. */
static int walk(struct diff *d, int fd, bool compare, struct err *err) {
        char top[32], *const paths[] = { top, NULL };
        _cleanup_(fts_closep) FTS *fts = NULL;
        FTSENT *e;
        size_t skip;
        int r = 0;

        skip = (size_t) snprintf(top, sizeof(top), "/proc/self/fd/%d/", fd);
        fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
        if (!fts)
                return err_sys(err, errno, "walk a layer");
        d->n = 0;
        while (r == 0 && (errno = 0, e = fts_read(fts))) {
                if (d->give_up && atomic_load(d->give_up))
                        return err_set(err, ERR_CANCELLED, "cancelled");
                if (e->fts_info == FTS_DP)
                        continue;
                if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS)
                        return err_sys(err, e->fts_errno, "read %.200s", e->fts_path + skip);
                d->n++;
                if (compare)
                        r = entry_differs(d, e->fts_level == 0 ? "." : e->fts_path + skip, e->fts_statp, err);
        }
        return r == 0 && errno ? err_sys(err, errno, "walk a layer") : r;
}

int tree_diff(int a_fd, int b_fd, const atomic_bool *give_up, struct tree_diff *ret, struct err *err) {
        _cleanup_(freep) char *a = xcalloc(1, BUF_BYTES), *b = xcalloc(1, BUF_BYTES);
        struct diff d = { .a_fd = a_fd, .b_fd = b_fd, .give_up = give_up, .a_buf = a, .b_buf = b, .found = ret };
        size_t n;
        int r;

        *ret = (struct tree_diff){ .same = true };
        r = walk(&d, a_fd, true, err);
        n = d.n;
        if (r == 0)
                r = walk(&d, b_fd, false, err);
        if (r == 0 && d.n != n)
                r = differs(&d, "", "there are files that do not belong to it");
        return r < 0 ? r : 0;
}

int tree_diff_entry(int a_fd, int b_fd, const char *name, const struct id_maps *owners, char *buffers,
                    struct err *err) {
        struct tree_diff found;
        struct diff d = { .a_fd = a_fd,
                          .b_fd = b_fd,
                          .owners = owners,
                          .a_buf = buffers,
                          .b_buf = buffers + BUF_BYTES,
                          .found = &found };
        struct stat st;

        if (fstatat(a_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return err_sys(err, errno, "look at %.200s", name);
        return entry_differs(&d, name, &st, err);
}
