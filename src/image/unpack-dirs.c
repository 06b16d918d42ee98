/* SPDX-License-Identifier: Apache-2.0 */
#include "image/unpack-dirs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/str.h"

int overlay_set_opaque(int dir_fd, struct err *err) {
        if (fsetxattr(dir_fd, "trusted.overlay.opaque", "y", 1, 0) < 0)
                return err_sys(err, errno, "mark folder as opaque");
        return 0;
}

bool overlay_is_whiteout(int dir_fd, const char *name) {
        struct stat st;

        return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0;
}

static int fill(struct dir *dir, int fd, size_t len, struct err *err) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return err_sys(err, errno, "look at folder");
        *dir = (struct dir){
                .fd = fd, .len = len, .mtime = st.st_mtim, .keep_mtime = true, .setgid = st.st_mode & S_ISGID
        };
        return 0;
}

int dirs_init(struct dirs *d, int root_fd, struct err *err) {
        int fd, r;

        d->n = 0;
        d->path[0] = '\0';
        fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return err_sys(err, errno, "open folder of layer");
        r = fill(&d->open[0], fd, 0, err);
        if (r < 0) {
                fd_close(fd);
                return r;
        }
        d->open[0].keep_mtime = false; /* nobody's so far */
        d->n = 1;
        return 0;
}

void dirs_done(struct dirs *d) {
        while (d->n)
                fd_close(d->open[--d->n].fd);
}

static int settle(struct dir *dir, struct err *err) {
        struct timespec times[2] = { dir->mtime, dir->mtime };

        if (dir->touched && dir->keep_mtime && futimens(dir->fd, times) < 0)
                return err_sys(err, errno, "set time of folder");
        dir->touched = false;
        return 0;
}

static int leave_top(struct dirs *d, struct err *err) {
        int r = settle(dirs_top(d), err);

        fd_close(dirs_top(d)->fd);
        d->n--;
        d->path[dirs_top(d)->len] = '\0';
        return r;
}

/* Nothing goes into the folder that was made last. */
static int settle_fresh(struct dirs *d, struct err *err) {
        struct timespec times[2] = { d->fresh.mtime, d->fresh.mtime };

        if (!d->fresh.set)
                return 0;
        d->fresh.set = false;
        if (utimensat(dirs_top(d)->fd, d->fresh.name, times, AT_SYMLINK_NOFOLLOW) < 0)
                return err_sys(err, errno, "set time of folder");
        return 0;
}

int dirs_fresh(struct dirs *d, const char *name, struct timespec mtime, bool setgid, struct err *err) {
        int r = settle_fresh(d, err);

        if (r < 0)
                return r;
        assert(strlen(name) < sizeof(d->fresh.name));
        memcpy(d->fresh.name, name, strlen(name) + 1);
        d->fresh.mtime = mtime;
        d->fresh.setgid = setgid;
        d->fresh.set = true;
        return 0;
}

/* Put @fd, the folder @name in the one on top, on top. */
static int push(struct dirs *d, int fd, const char *name, struct err *err) {
        size_t n = strlen(name), len = strlen(d->path);
        int r = 0;

        if (len + 1 + n >= sizeof(d->path)) {
                fd_close(fd);
                return err_set(err, ERR_INVALID, "path that is too long");
        }
        if (d->n == DIRS_MAX_OPEN) {
                r = settle(&d->open[1], err);
                fd_close(d->open[1].fd);
                memmove(&d->open[1], &d->open[2], (DIRS_MAX_OPEN - 2) * sizeof(d->open[0]));
                d->n--;
        }
        if (r == 0 && d->fresh.set && str_eq(d->fresh.name, name)) {
                d->open[d->n] = (struct dir){ .fd = fd,
                                              .mtime = d->fresh.mtime,
                                              .keep_mtime = true,
                                              .touched = true,
                                              .setgid = d->fresh.setgid };
                d->fresh.set = false;
        } else if (r == 0) {
                r = settle_fresh(d, err);
                if (r == 0)
                        r = fill(&d->open[d->n], fd, 0, err);
        }
        if (r < 0) {
                fd_close(fd);
                return r;
        }
        if (len)
                d->path[len++] = '/';
        memcpy(d->path + len, name, n + 1);
        d->open[d->n++].len = len + n;
        return 0;
}

/* Make the missing folder @name, or replace the whiteout that stands there, which hides all below: hence opaque. */
static int make(struct dirs *d, const char *name, bool whiteout, int *ret_fd, struct err *err) {
        struct dir *top = dirs_top(d);
        char path[UNPACK_PATH_SIZE];
        int r;

        r = unpack_path_join(d->path, name, path, err);
        if (r < 0)
                return r;
        top->touched = true;
        if (whiteout && unlinkat(top->fd, name, 0) < 0)
                return err_sys(err, errno, "remove whiteout");
        if (mkdirat(top->fd, name, 0755) < 0)
                return err_sys(err, errno, "create folder");
        *ret_fd = openat(top->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (*ret_fd < 0)
                return err_sys(err, errno, "open folder");
        if (top->setgid && (fchown(*ret_fd, 0, 0) < 0 || fchmod(*ret_fd, 0755) < 0))
                r = err_sys(err, errno, "set owner of folder");
        if (r == 0)
                r = whiteout ? overlay_set_opaque(*ret_fd, err) : d->made(d->userdata, path, err);
        if (r < 0)
                *ret_fd = fd_close(*ret_fd);
        return r;
}

/* One step down. Sets @ret_symlink (and goes nowhere) when @name is a symlink. */
static int step(struct dirs *d, const char *name, bool *ret_symlink, struct err *err) {
        struct stat st;
        int fd, r = 0;

        fd = openat(dirs_top(d)->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
                return push(d, fd, name, err);
        if (errno == ENOENT) {
                r = make(d, name, false, &fd, err);
        } else if (errno == ENOTDIR || errno == ELOOP) {
                if (fstatat(dirs_top(d)->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        return err_sys(err, errno, "look at folder");
                if (S_ISLNK(st.st_mode)) {
                        *ret_symlink = true;
                        return 0;
                }
                if (!S_ISCHR(st.st_mode) || st.st_rdev != 0)
                        return err_set(err, ERR_INVALID, "something that is no folder stands in the way");
                r = make(d, name, true, &fd, err);
        } else {
                r = err_sys(err, errno, "open folder");
        }
        return r < 0 ? r : push(d, fd, name, err);
}

static bool is_below(const char *path, const char *dir, size_t dir_len) {
        return memcmp(path, dir, dir_len) == 0 && (dir_len == 0 || path[dir_len] == '/' || path[dir_len] == '\0');
}

/* Leave what is not on the way to @path. */
static int ascend(struct dirs *d, const char *path, size_t len, struct err *err) {
        int r = 0;

        while (r == 0 && d->n > 1 && (dirs_top(d)->len > len || !is_below(path, d->path, dirs_top(d)->len))) {
                r = settle_fresh(d, err);
                if (r == 0)
                        r = leave_top(d, err);
        }
        return r;
}

int dirs_enter(struct dirs *d, const char *path, struct err *err) {
        char resolved[UNPACK_PATH_SIZE], name[256];
        size_t len = strlen(path);
        bool symlink = false;
        int r;

        r = ascend(d, path, len, err);
        while (r == 0) {
                const char *rest = path + dirs_top(d)->len;
                size_t n;

                rest += *rest == '/';
                n = strcspn(rest, "/");
                if (n == 0)
                        return settle_fresh(d, err);
                memcpy(name, rest, n); /* at most 255: it is clean */
                name[n] = '\0';
                r = step(d, name, &symlink, err);
                if (r == 0 && symlink) {
                        r = unpack_path_resolve(d->open[0].fd, path, true, resolved, err);
                        if (r < 0)
                                return r;
                        path = resolved;
                        len = strlen(path);
                        symlink = false;
                        r = ascend(d, path, len, err);
                }
        }
        return r;
}

int dirs_settle(struct dirs *d, struct err *err) {
        int r = settle_fresh(d, err);

        while (r == 0 && d->n > 1)
                r = leave_top(d, err);
        return r < 0 ? r : settle(&d->open[0], err);
}
