/* SPDX-License-Identifier: Apache-2.0 */
/* selinux-files - labels of files. Trees belong to pods, which may change them while we are there: each object is held
 * by a descriptor when it is labelled, so that no symlink leads us elsewhere. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "security/selinux.h"

enum { MAX_DEPTH = 256, PROC_PATH_SIZE = 32 };

#define LABEL "security.selinux"

/* go-selinux's list: relabelling these would take the host's programs their files away. */
static const char *const excluded[] = { "/",        "/bin",        "/boot", "/dev", "/etc",     "/etc/passwd",
                                        "/etc/pki", "/etc/shadow", "/home", "/lib", "/lib64",   "/media",
                                        "/opt",     "/proc",       "/root", "/run", "/sbin",    "/srv",
                                        "/sys",     "/tmp",        "/usr",  "/var", "/var/lib", "/var/log" };

static void proc_path(int fd, char ret[PROC_PATH_SIZE]) {
        (void) snprintf(ret, PROC_PATH_SIZE, "/proc/self/fd/%d", fd);
}

/* @fd may be O_PATH, and a symlink. Through a label that is there already nothing is written. */
static int set_label(int fd, const char *label) {
        char path[PROC_PATH_SIZE], old[SELINUX_LABEL_MAX + 2];
        ssize_t n;

        proc_path(fd, path);
        n = getxattr(path, LABEL, old, sizeof(old) - 1);
        old[n > 0 ? n : 0] = '\0'; /* stored with its NUL, by habit */
        if (n > 0 && str_eq(old, label))
                return 0;
        return setxattr(path, LABEL, label, strlen(label) + 1, 0) < 0 && errno != ENOTSUP ? -errno : 0;
}

static int label_below(int fd, const char *label, unsigned depth);

static int label_entry(int dir, const char *name, const char *label, unsigned depth) {
        _cleanup_(fd_closep) int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;
        int r, sub;

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        r = set_label(fd, label);
        if (r < 0 || fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))
                return r;
        if (depth == MAX_DEPTH)
                return -ELOOP;
        sub = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return sub < 0 ? -errno : label_below(sub, label, depth + 1);
}

/* Takes @fd. */
static int label_below(int fd, const char *label, unsigned depth) {
        _cleanup_(closedirp) DIR *d = fdopendir(fd);
        struct dirent *e;
        int r = 0;

        if (!d) {
                r = -errno;
                (void) close(fd);
                return r;
        }
        while (r == 0 && (errno = 0, e = readdir(d)))
                if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
                        r = label_entry(dirfd(d), e->d_name, label, depth);
        return r < 0 ? r : -errno;
}

static int check_allowed(int fd, const char *path, struct err *err) {
        char link[PROC_PATH_SIZE], real[PATH_MAX];
        ssize_t n;

        proc_path(fd, link);
        n = readlink(link, real, sizeof(real) - 1);
        if (n < 0)
                return err_sys(err, errno, "relabel %s", path);
        real[n] = '\0';
        for (size_t i = 0; i < ELEMENTSOF(excluded); i++)
                if (str_eq(real, excluded[i]))
                        return err_set(err, ERR_INVALID, "SELinux relabeling of %s is not allowed", real);
        return 0;
}

int selinux_relabel(const char *path, const char *label, struct err *err) {
        _cleanup_(fd_closep) int fd = open(path, O_PATH | O_CLOEXEC);
        struct stat st;
        int r, dir;

        if (fd < 0 || fstat(fd, &st) < 0)
                return err_sys(err, errno, "relabel %s", path);
        r = check_allowed(fd, path, err);
        if (r < 0)
                return r;
        r = set_label(fd, label);
        if (r == 0 && S_ISDIR(st.st_mode)) {
                dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = dir < 0 ? -errno : label_below(dir, label, 1);
        }
        return r < 0 ? err_sys(err, -r, "set the SELinux label %s on %s and what is in it", label, path) : 0;
}
