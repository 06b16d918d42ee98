/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lxc/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <lxc/lxccontainer.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/sock.h"
#include "base/str.h"
#include "init/plan.h"

#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x4
#endif

void child_fail(int init_socket, int sys_errno, const char *fmt, ...) {
        struct plan_error e = { .type = PLAN_MSG_ERROR, .sys_errno = sys_errno };
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(e.text, sizeof(e.text), fmt, ap);
        va_end(ap);
        (void) !sock_send(init_socket, &e, sizeof(e), NULL, 0);
        _exit(1);
}

static int compare_fds(const void *a, const void *b) {
        return *(const int *) a - *(const int *) b;
}

void child_settle_descriptors(int init_socket, int init_fd, int *keep, size_t n_keep) {
        bool has_stderr = false;
        int next = 0, null_fd;

        qsort(keep, n_keep, sizeof(keep[0]), compare_fds);
        for (size_t i = 0; i < n_keep; i++) {
                if (keep[i] < 0)
                        continue;
                has_stderr = has_stderr || keep[i] == STDERR_FILENO;
                if (keep[i] > next)
                        (void) close_range((unsigned) next, (unsigned) keep[i] - 1, 0);
                next = keep[i] + 1;
        }
        (void) close_range((unsigned) next, ~0U, 0);
        null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null_fd != STDIN_FILENO || dup3(null_fd, STDOUT_FILENO, O_CLOEXEC) < 0 ||
            (!has_stderr && dup3(null_fd, STDERR_FILENO, O_CLOEXEC) < 0))
                child_fail(init_socket, errno, "open /dev/null");
        (void) close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
        if (fcntl(init_fd, F_SETFD, 0) < 0 || fcntl(init_socket, F_SETFD, 0) < 0)
                child_fail(init_socket, errno, "let init inherit its descriptors");
}

/* The mount points that liblxc needs must be folders of the image's root itself. liblxc's own create=dir would follow
 * an image's symlink out of the root as host root. Nothing else has access to this mount yet, so there is no race. */
static void ensure_folder(int init_socket, int rootfd, const char *name) {
        struct open_how how = {
                .flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
        };
        long fd = syscall(SYS_openat2, rootfd, name, &how, sizeof(how));
        struct stat st;

        if (fd < 0 && errno == ENOENT && mkdirat(rootfd, name, 0755) == 0) {
                fd = syscall(SYS_openat2, rootfd, name, &how, sizeof(how));
                /* With a user namespace that is its root's, not ours. */
                if (fd >= 0 && fstat(rootfd, &st) == 0)
                        (void) !fchownat((int) fd, "", st.st_uid, st.st_gid, AT_EMPTY_PATH);
        }
        if (fd < 0)
                child_fail(init_socket, errno, "the image's /%s is not a folder that can be mounted on", name);
        (void) close((int) fd);
}

void child_attach_rootfs(int init_socket, int rootfs_fd, const char *dir) {
        _cleanup_(fd_closep) int rootfd = -1;

        if (syscall(SYS_move_mount, rootfs_fd, "", AT_FDCWD, dir, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                child_fail(init_socket, errno, "attach the root file system at %s", dir);
        rootfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (rootfd < 0)
                child_fail(init_socket, errno, "open %s", dir);
        ensure_folder(init_socket, rootfd, "proc");
        ensure_folder(init_socket, rootfd, "sys");
        ensure_folder(init_socket, rootfd, "dev");
        (void) close(rootfs_fd);
}

static int program_fd = -1;

void child_set_program(int init_fd) {
        program_fd = init_fd;
}

/* liblxc's: it is called through this name for init, in the container's root. Executed by its name there,
 * /proc/self/fd/N, it would be found through the image's folder /proc, which somebody who has a hand on the image can
 * have exchanged, with the mount on it, for one with a program of his. */
__attribute__((visibility("default"))) int execvp(const char *file, char *const argv[]) {
        if (program_fd >= 0)
                return (int) syscall(SYS_execveat, program_fd, "", argv, environ, AT_EMPTY_PATH);
        return execvpe(file, argv, environ);
}

void child_configure(int init_socket, const char *config, struct lxc_container *c) {
        char line[4096];
        const char *p = config, *end;
        char *eq;
        size_t n;

        for (; *p; p = *end ? end + 1 : end) {
                end = p + strcspn(p, "\n");
                n = (size_t) (end - p);
                if (n == 0)
                        continue;
                if (n >= sizeof(line))
                        child_fail(init_socket, 0, "a configuration line for liblxc is longer than %zu bytes",
                                   sizeof(line));
                memcpy(line, p, n);
                line[n] = '\0';
                eq = strstr(line, " = ");
                if (!eq)
                        child_fail(init_socket, 0, "bad configuration line for liblxc: %s", line);
                *eq = '\0';
                if (!c->set_config_item(c, line, eq + 3))
                        child_fail(init_socket, 0, "liblxc refuses %s = %s", line, eq + 3);
        }
}

void child_wait_until_read(const int *pipes, size_t n) {
        unsigned pause_us = 100;
        int left;

        for (size_t i = 0; i < n;) {
                left = 0;
                if (pipes[i] < 0 || ioctl(pipes[i], FIONREAD, &left) < 0 || left == 0) {
                        i++;
                        continue;
                }
                (void) usleep(pause_us);
                pause_us = MIN_OF(pause_us * 2, 50000u);
        }
}
