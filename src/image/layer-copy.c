/* SPDX-License-Identifier: Apache-2.0 */
#include "image/layer-copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"

enum { BUFFER_BYTES = 128 * 1024, MAX_XATTR_BYTES = 65536 };

/* Both paths name the thing itself, by /proc/self/fd. */
static int copy_xattrs(const char *from, const char *to, struct err *err) {
        _cleanup_(freep) char *names = NULL, *value = NULL;
        ssize_t n = llistxattr(from, NULL, 0), len;

        if (n <= 0) /* most have none */
                return n == 0 || errno == EOPNOTSUPP ? 0 : err_sys(err, errno, "list extended attributes");
        names = xcalloc(1, MAX_XATTR_BYTES + 1);
        value = xcalloc(1, MAX_XATTR_BYTES);
        n = llistxattr(from, names, MAX_XATTR_BYTES);
        if (n < 0)
                return err_sys(err, errno, "list extended attributes");
        for (const char *name = names; name < names + n; name += strlen(name) + 1) {
                if (str_after(name, "trusted.overlay.") || str_eq(name, "security.selinux"))
                        continue;
                len = lgetxattr(from, name, value, MAX_XATTR_BYTES);
                if (len < 0 && errno == ENODATA)
                        continue;
                if (len < 0 || lsetxattr(to, name, value, (size_t) len, 0) < 0)
                        return err_sys(err, errno, "copy extended attribute %.80s", name);
        }
        return 0;
}

int layer_copy_meta(int from, int to, struct err *err) {
        char from_path[40], to_path[40];
        struct timespec times[2];
        struct stat st;
        int r;

        (void) snprintf(from_path, sizeof(from_path), "/proc/self/fd/%d/.", from);
        (void) snprintf(to_path, sizeof(to_path), "/proc/self/fd/%d/.", to);
        if (fstat(from, &st) < 0 || fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0)
                return err_sys(err, errno, "copy owner and mode of folder");
        r = copy_xattrs(from_path, to_path, err);
        if (r < 0)
                return r;
        times[0] = times[1] = st.st_mtim;
        return futimens(to, times) < 0 ? err_sys(err, errno, "set time of folder") : 0;
}

static int copy_range(int from, int to, off_t at, off_t end, char *buf) {
        while (at < end) {
                ssize_t n = pread(from, buf, (size_t) MIN_OF((off_t) BUFFER_BYTES, end - at), at);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                for (ssize_t done = 0, w; done < n; done += w) {
                        w = pwrite(to, buf + done, (size_t) (n - done), at + done);
                        if (w < 0)
                                return -errno;
                }
                at += n;
        }
        return 0;
}

static int copy_data(int from, int to, off_t size, uint64_t *bytes) {
        _cleanup_(freep) char *buf = xcalloc(1, BUFFER_BYTES);
        off_t at = 0;
        int r = 0;

        while (r == 0 && at < size) {
                off_t data = lseek(from, at, SEEK_DATA), hole;

                if (data < 0 && errno == ENXIO)
                        break;
                if (data < 0)
                        data = at; /* a file system without holes */
                hole = lseek(from, data, SEEK_HOLE);
                if (hole < 0)
                        hole = size;
                r = copy_range(from, to, data, hole, buf);
                *bytes += (uint64_t) (hole - data + 4095) / 4096 * 4096;
                at = hole;
        }
        return r == 0 && ftruncate(to, size) < 0 ? -errno : r;
}

static int copy_regular(int from_dir, const char *from_name, int to_dir, const char *to_name, const struct stat *st,
                        uint64_t *bytes, struct err *err) {
        _cleanup_(fd_closep) int from = openat(from_dir, from_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        _cleanup_(fd_closep) int to = -1;
        int r;

        if (from < 0)
                return err_sys(err, errno, "open file to copy");
        to = openat(to_dir, to_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (to < 0)
                return err_sys(err, errno, "create copy");
        if (ioctl(to, FICLONE, from) == 0) { /* they share their blocks */
                *bytes += (uint64_t) st->st_size;
                return 0;
        }
        r = copy_data(from, to, st->st_size, bytes);
        return r < 0 ? err_sys(err, -r, "copy file") : 0;
}

static int copy_symlink(int from_dir, const char *from_name, int to_dir, const char *to_name) {
        char target[4096];
        ssize_t n = readlinkat(from_dir, from_name, target, sizeof(target) - 1);

        if (n < 0)
                return -1;
        target[n] = '\0';
        return symlinkat(target, to_dir, to_name);
}

int layer_copy_file(int from_dir, const char *from_name, int to_dir, const char *to_name, uint64_t *bytes,
                    struct err *err) {
        char from_path[320], to_path[320];
        struct timespec times[2];
        struct stat st;
        int r = 0;

        if (fstatat(from_dir, from_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return err_sys(err, errno, "look at file to copy");
        if (S_ISREG(st.st_mode))
                r = copy_regular(from_dir, from_name, to_dir, to_name, &st, bytes, err);
        else if ((S_ISLNK(st.st_mode) ? copy_symlink(from_dir, from_name, to_dir, to_name)
                                      : mknodat(to_dir, to_name, st.st_mode, st.st_rdev)) < 0)
                r = err_sys(err, errno, "copy");
        if (r < 0)
                return r;
        if (fchownat(to_dir, to_name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
                return err_sys(err, errno, "set owner of copy");
        if (!S_ISLNK(st.st_mode) && fchmodat(to_dir, to_name, st.st_mode & 07777, 0) < 0)
                return err_sys(err, errno, "set mode of copy");
        (void) snprintf(from_path, sizeof(from_path), "/proc/self/fd/%d/%s", from_dir, from_name);
        (void) snprintf(to_path, sizeof(to_path), "/proc/self/fd/%d/%s", to_dir, to_name);
        r = copy_xattrs(from_path, to_path, err);
        if (r < 0)
                return r;
        times[0] = times[1] = st.st_mtim;
        if (utimensat(to_dir, to_name, times, AT_SYMLINK_NOFOLLOW) < 0)
                return err_sys(err, errno, "set time of copy");
        return 0;
}
