/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fs.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

enum { PROGRAM_MAX = 64 << 20, OPENAT2_TRIES = 1000 };

int fs_read_file(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        _cleanup_(freep) char *buf = NULL;
        size_t len = 0, cap = 4096;
        ssize_t n;

        fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return err_sys(err, errno, "open %s", path);
        buf = xcalloc(1, cap);
        while ((n = read(fd, buf + len, cap - len - 1)) != 0) {
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return err_sys(err, errno, "read %s", path);
                }
                len += (size_t) n;
                if (len > max)
                        return err_set(err, ERR_EXHAUSTED, "%s is larger than %zu bytes", path, max);
                if (len + 1 == cap)
                        buf = xrealloc(buf, cap *= 2, 1);
        }
        buf[len] = '\0';
        if (ret_len)
                *ret_len = len;
        *ret = TAKE_PTR(buf);
        return 0;
}

int fs_write_all(int fd, const void *data, size_t len) {
        const char *p = data;
        ssize_t n;

        while (len) {
                n = write(fd, p, len);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                p += n;
                len -= (size_t) n;
        }
        return 0;
}

int fs_sync_dir(int dirfd, const char *path) {
        _cleanup_(fd_closep) int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int fs_write_atomic(int dirfd, const char *path, const void *data, size_t len, mode_t mode, bool durable,
                    struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        char tmp[4096], folder[4096], unique[ID_LEN + 1];
        char *slash;
        int r;

        id_new(unique);
        unique[12] = '\0';
        if (snprintf(tmp, sizeof(tmp), "%s.%s.tmp", path, unique) >= (int) sizeof(tmp))
                return err_sys(err, ENAMETOOLONG, "write %s", path);
        fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0)
                return err_sys(err, errno, "create %s", tmp);
        r = fs_write_all(fd, data, len);
        if (r == 0 && durable && fsync(fd) < 0)
                r = -errno;
        if (r == 0 && renameat(dirfd, tmp, dirfd, path) < 0)
                r = -errno;
        if (r < 0) {
                (void) unlinkat(dirfd, tmp, 0);
                return err_sys(err, -r, "write %s", path);
        }
        if (durable) {
                (void) snprintf(folder, sizeof(folder), "%s", path);
                slash = strrchr(folder, '/');
                if (slash)
                        slash[slash == folder] = '\0';
                r = fs_sync_dir(dirfd, slash ? folder : ".");
                if (r < 0)
                        return err_sys(err, -r, "sync the folder of %s", path);
        }
        return 0;
}

int fs_write_existing(int dirfd, const char *path, const char *value, struct err *err) {
        _cleanup_(fd_closep) int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
        size_t len = strlen(value);

        if (fd < 0)
                return err_sys(err, errno, "open %s", path);
        if (write(fd, value, len) != (ssize_t) len)
                return err_sys(err, errno, "write \"%s\" to %s", value, path);
        return 0;
}

int fs_mkdir_p(const char *path, mode_t mode, struct err *err) {
        char buf[4096];
        size_t len = strlen(path);
        struct stat st;
        int r;

        if (len >= sizeof(buf))
                return err_sys(err, ENAMETOOLONG, "create folder %s", path);
        memcpy(buf, path, len + 1);
        r = mkdir(path, mode); /* usually it is there, or its parent is */
        if (r < 0 && errno == ENOENT) {
                for (char *p = strchr(buf + (len > 0), '/'); p; p = strchr(p + 1, '/')) {
                        *p = '\0';
                        if (mkdir(buf, mode) < 0 && errno != EEXIST)
                                return err_sys(err, errno, "create folder %s", buf);
                        *p = '/';
                }
                r = mkdir(path, mode);
        }
        if (r < 0 && errno != EEXIST)
                return err_sys(err, errno, "create folder %s", path);
        if (stat(path, &st) < 0)
                return err_sys(err, errno, "look at %s", path);
        if (!S_ISDIR(st.st_mode))
                return err_sys(err, ENOTDIR, "create folder %s", path);
        return 0;
}

int fs_sealed_copy(const char *path, const char *name, int *ret_fd, struct err *err) {
        _cleanup_(fd_closep) int fd = -1, program = open(path, O_RDONLY | O_CLOEXEC);
        char self[64];
        size_t len = 0;
        ssize_t n;

        if (program < 0)
                return err_sys(err, errno, "open %s", path);
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return err_sys(err, errno, "create a memfd for %s", path);
        while ((n = sendfile(fd, program, NULL, PROGRAM_MAX + 1 - len)) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return err_sys(err, errno, "copy %s to a memfd", path);
                len += (size_t) n;
                if (len > PROGRAM_MAX)
                        return err_set(err, ERR_EXHAUSTED, "%s is larger than %d bytes", path, PROGRAM_MAX);
        }
        if (fchmod(fd, 0555) < 0 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
                return err_sys(err, errno, "seal the memfd of %s", path);
        /* Opened anew for reading: a descriptor open for writing would make exec fail with ETXTBSY. */
        (void) snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
        *ret_fd = open(self, O_RDONLY | O_CLOEXEC);
        if (*ret_fd < 0)
                return err_sys(err, errno, "open the memfd of %s", path);
        return fchmod(fd, 0111) < 0 ? err_sys(err, errno, "make the memfd of %s unreadable", path) : 0;
}

int fs_open_in_root(int rootfd, const char *path, int flags, mode_t mode) {
        struct open_how how = {
                .flags = (uint64_t) (flags | O_CLOEXEC),
                .mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        };
        long fd;

        /* With ".." on the way, each rename or mount on the host meanwhile makes the kernel give up. */
        for (int tries = 0; tries < OPENAT2_TRIES; tries++) {
                fd = syscall(SYS_openat2, rootfd, path, &how, sizeof(how));
                if (fd >= 0 || errno != EAGAIN)
                        break;
        }
        return fd < 0 ? -errno : (int) fd;
}
