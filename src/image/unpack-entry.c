/* SPDX-License-Identifier: Apache-2.0 */
#include "image/unpack-entry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/str.h"

enum {
        XATTRS_FIT = 2048,     /* bytes for one file that any file system holds: ext4 has a block of 4 KiB for them */
        ROOM_ENOUGH = 1 << 20, /* the disk is not full */
};

bool unpack_needs_owner(struct unpack *u, const struct tar_entry *e) {
        return e->uid != u->uid || e->gid != u->gid || dirs_top(&u->dirs)->setgid;
}

/* Overlay's marks are ours to make; labels and NFS ACLs are the host's, not an image's. */
static bool is_dropped(const char *name) {
        return str_after(name, "trusted.overlay.") || str_eq(name, "security.selinux") ||
               str_eq(name, "system.nfs4_acl");
}

static int set_xattr(int fd, const char *name, const struct tar_xattr *x) {
        char path[320];

        if (!name)
                return fsetxattr(fd, x->name, x->value, x->len, 0);
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", fd, name); /* name: at most 255 */
        return lsetxattr(path, x->name, x->value, x->len, 0);
}

/* What its folder's default ACL made of it: it has the ACLs that the archive says. */
static void drop_inherited(int fd, const char *name) {
        static const char *const inherited[] = { "system.posix_acl_access", "system.posix_acl_default" };
        char path[320];

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", fd, name ?: "");
        for (size_t i = 0; i < ELEMENTSOF(inherited); i++) /* most have none, symlinks can't */
                (void) (name ? lremovexattr(path, inherited[i]) : fremovexattr(fd, inherited[i]));
}

/* Of more than a file system can hold for one file it says that it is full. Then no room that is made helps. */
static bool is_too_much(int fd, const struct tar_entry *e) {
        size_t sum = 0;
        struct statvfs st;

        for (size_t i = 0; i < e->n_xattrs; i++)
                sum += strlen(e->xattrs[i].name) + e->xattrs[i].len;
        return sum > XATTRS_FIT && fstatvfs(fd, &st) == 0 && (uint64_t) st.f_bavail * st.f_frsize > ROOM_ENOUGH;
}

int unpack_set_xattrs(struct unpack *u, int fd, const char *name, const struct tar_entry *e, struct err *err) {
        if (u->default_acls)
                drop_inherited(fd, name);
        for (size_t i = 0; i < e->n_xattrs; i++) {
                const struct tar_xattr *x = &e->xattrs[i];

                if (is_dropped(x->name))
                        continue;
                if (str_eq(x->name, "system.posix_acl_default"))
                        u->default_acls = true;
                if (set_xattr(fd, name, x) == 0)
                        continue;
                /* The file system has none of this kind, or (EPERM) not for this kind of file, as user.* of a symlink.
                 */
                if (errno == EOPNOTSUPP || (errno == EPERM && str_after(x->name, "user.")))
                        continue;
                if (errno == EINVAL || errno == ERANGE || errno == E2BIG)
                        return err_set(err, ERR_INVALID, "impossible extended attribute %.80s", x->name);
                if (errno == ENOSPC && is_too_much(fd, e))
                        return err_set(err, ERR_EXHAUSTED,
                                       "extended attribute %.80s is more than this file system can hold", x->name);
                return err_sys(err, errno, "set extended attribute %.80s", x->name);
        }
        return 0;
}

static int make_file(struct unpack *u, const char *name, const struct tar_entry *e, struct err *err) {
        int parent = dirs_top(&u->dirs)->fd, flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, r;

        u->file.e = *e;
        u->file.fd = openat(parent, name, flags, e->mode & 01777);
        if (u->file.fd < 0 && errno == EEXIST) {
                r = unpack_make_room(u, name, err);
                if (r < 0)
                        return r;
                u->file.fd = openat(parent, name, flags, e->mode & 01777);
        }
        if (u->file.fd < 0)
                return err_sys(err, errno, "create file");
        return unpack_count(u, (e->stored_size + 4095) / 4096 * 4096, err);
}

int unpack_write_file(void *userdata, uint64_t offset, const void *data, size_t len, struct err *err) {
        struct unpack *u = userdata;
        const char *p = data;

        while (len && u->file.fd >= 0) {
                ssize_t n = pwrite(u->file.fd, p, len, (off_t) offset);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        if (errno == EFBIG || errno == EINVAL)
                                return err_set(err, ERR_EXHAUSTED, "file is larger than this file system can hold");
                        return err_sys(err, errno, "write \"%.200s\"", u->file.e.name);
                }
                p += n;
                offset += (uint64_t) n;
                len -= (size_t) n;
        }
        return 0;
}

int unpack_close_file(struct unpack *u, struct err *err) {
        const struct tar_entry *e = &u->file.e;
        struct timespec times[2] = { { .tv_sec = e->mtime, .tv_nsec = e->mtime_ns } };
        _cleanup_(fd_closep) int fd = TAKE_FD(u->file.fd);
        bool owner;
        int r;

        if (fd < 0)
                return 0;
        if (e->sparse && ftruncate(fd, (off_t) e->size) < 0)
                return err_set(err, ERR_EXHAUSTED, "set size of file: %s", strerror(errno));
        owner = unpack_needs_owner(u, e);
        if (owner && fchown(fd, e->uid, e->gid) < 0)
                return err_sys(err, errno, "set owner");
        /* A change of owner, and writing, take the setuid and setgid bits away; capabilities too, so they come last. */
        if ((owner || (e->mode & 06000) || u->default_acls) && fchmod(fd, e->mode) < 0)
                return err_sys(err, errno, "set mode");
        r = unpack_set_xattrs(u, fd, NULL, e, err);
        if (r < 0)
                return r;
        times[1] = times[0];
        return futimens(fd, times) < 0 ? err_sys(err, errno, "set time") : 0;
}

static int make_node(int parent, const char *name, const struct tar_entry *e) {
        switch (e->type) {
        case TAR_SYMLINK:
                return symlinkat(e->link, parent, name);
        case TAR_CHAR:
                return mknodat(parent, name, S_IFCHR | (e->mode & 01777), makedev(e->major, e->minor));
        case TAR_BLOCK:
                return mknodat(parent, name, S_IFBLK | (e->mode & 01777), makedev(e->major, e->minor));
        default:
                return mknodat(parent, name, S_IFIFO | (e->mode & 01777), 0);
        }
}

int unpack_make(struct unpack *u, const char *name, const struct tar_entry *e, struct err *err) {
        struct timespec times[2] = { { .tv_sec = e->mtime, .tv_nsec = e->mtime_ns } };
        int parent = dirs_top(&u->dirs)->fd, r;
        bool symlink = e->type == TAR_SYMLINK;

        dirs_top(&u->dirs)->touched = true;
        if (e->type == TAR_FILE)
                return make_file(u, name, e, err);
        if (symlink && !*e->link)
                return err_set(err, ERR_INVALID, "symlink to nothing");
        r = make_node(parent, name, e);
        if (r < 0 && errno == EEXIST) {
                r = unpack_make_room(u, name, err);
                if (r < 0)
                        return r;
                r = make_node(parent, name, e);
        }
        if (r < 0)
                return err_sys(err, errno, "create");
        if (unpack_needs_owner(u, e) && fchownat(parent, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
                return err_sys(err, errno, "set owner");
        if (!symlink && fchmodat(parent, name, e->mode, 0) < 0) /* just made by us: no symlink */
                return err_sys(err, errno, "set mode");
        r = unpack_set_xattrs(u, parent, name, e, err);
        if (r < 0)
                return r;
        times[1] = times[0];
        if (utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
                return err_sys(err, errno, "set time");
        return unpack_count(u, 0, err);
}

/* Open the file that @target leads to in this layer: -1 when there is none. */
static int find_target(struct unpack *u, const char *target, const char *path, int *ret_fd, struct err *err) {
        char resolved[UNPACK_PATH_SIZE];
        struct stat st;
        int fd, r;

        *ret_fd = -1;
        fd = unpack_path_open(u->dirs.open[0].fd, target, O_PATH);
        if (fd == -ELOOP || fd == -ENOTDIR) {
                r = unpack_path_resolve(u->dirs.open[0].fd, target, false, resolved, err);
                if (r < 0)
                        return r;
                if (str_eq(resolved, path))
                        return err_set(err, ERR_INVALID, "hardlink to itself");
                fd = unpack_path_open(u->dirs.open[0].fd, resolved, O_PATH);
        }
        if (fd == -ENOENT || fd == -ELOOP || fd == -ENOTDIR || fd == -ENAMETOOLONG)
                return 0;
        if (fd < 0)
                return err_sys(err, -fd, "open the target \"%.200s\"", target);
        r = fstat(fd, &st) < 0 ? err_sys(err, errno, "look at the target") : 0;
        if (r == 0 && S_ISDIR(st.st_mode))
                r = err_set(err, ERR_INVALID, "hardlink to a folder");
        if (r == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0)
                r = err_set(err, ERR_INVALID, "hardlink to what this layer removes");
        if (r < 0) {
                fd_close(fd);
                return r;
        }
        *ret_fd = fd;
        return 0;
}

int unpack_link(struct unpack *u, const char *name, const char *path, const char *target, bool *ret_found,
                struct err *err) {
        int parent = dirs_top(&u->dirs)->fd, r;
        _cleanup_(fd_closep) int fd = -1;

        dirs_top(&u->dirs)->touched = true;
        r = find_target(u, target, path, &fd, err);
        if (r < 0)
                return r;
        *ret_found = fd >= 0;
        if (fd < 0)
                return 0;
        r = linkat(fd, "", parent, name, AT_EMPTY_PATH);
        if (r < 0 && errno == EEXIST) {
                r = unpack_make_room(u, name, err);
                if (r < 0)
                        return r;
                r = linkat(fd, "", parent, name, AT_EMPTY_PATH);
        }
        if (r < 0 && errno == EMLINK)
                return err_set(err, ERR_EXHAUSTED, "more hardlinks than this file system can hold");
        if (r < 0 && errno == ENOENT) /* what stood under the name held the target */
                return err_set(err, ERR_INVALID, "hardlink to what it replaces");
        return r < 0 ? err_sys(err, errno, "create hardlink") : 0;
}
