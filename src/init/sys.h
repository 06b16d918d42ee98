/* SPDX-License-Identifier: Apache-2.0 */
/* sys - the system calls of the mount API and friends, spelled once for glibc and musl (whose headers have not got
 * them, and which can't include <linux/...>). Thin: results are those of the kernel, -1 with errno on failure. */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

/* From 424 on all architectures but alpha share their numbers. */
#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif
#ifndef SYS_fsopen
#define SYS_fsopen 430
#endif
#ifndef SYS_fsconfig
#define SYS_fsconfig 431
#endif
#ifndef SYS_fsmount
#define SYS_fsmount 432
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

enum {
        SYS_RESOLVE_NO_XDEV = 0x01,
        SYS_RESOLVE_NO_MAGICLINKS = 0x02,
        SYS_RESOLVE_NO_SYMLINKS = 0x04,
        SYS_RESOLVE_BENEATH = 0x08,
        SYS_RESOLVE_IN_ROOT = 0x10,

        SYS_OPEN_TREE_CLONE = 1,
        SYS_OPEN_TREE_CLOEXEC = O_CLOEXEC,
        SYS_AT_RECURSIVE = 0x8000,
        SYS_MOVE_MOUNT_F_EMPTY_PATH = 0x04,
        SYS_MOVE_MOUNT_T_EMPTY_PATH = 0x40,

        SYS_FSOPEN_CLOEXEC = 1,
        SYS_FSMOUNT_CLOEXEC = 1,
        SYS_FSCONFIG_SET_FLAG = 0,
        SYS_FSCONFIG_SET_STRING = 1,
        SYS_FSCONFIG_CMD_CREATE = 6,

        SYS_CLOSE_RANGE_UNSHARE = 2,
        SYS_CLOSE_RANGE_CLOEXEC = 4,

        SYS_ATTR_RDONLY = 0x01,
        SYS_ATTR_NOSUID = 0x02,
        SYS_ATTR_NODEV = 0x04,
        SYS_ATTR_NOEXEC = 0x08,
        SYS_ATTR_ATIME = 0x70, /* the field; 0 in it: relatime */
        SYS_ATTR_NOATIME = 0x10,
        SYS_ATTR_STRICTATIME = 0x20,
        SYS_ATTR_NODIRATIME = 0x80,
        SYS_ATTR_IDMAP = 0x100000,
        SYS_ATTR_NOSYMFOLLOW = 0x200000,
};

#define SYS_CLONE_PARENT 0x8000ULL
#define SYS_CLONE_INTO_CGROUP 0x200000000ULL

/* struct clone_args, as of Linux 5.7. */
struct sys_clone_args {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
                cgroup;
};

#define SYS_PROC_MAGIC 0x9fa0L
#define SYS_DEVPTS_MAGIC 0x1cd1L

struct sys_open_how {
        uint64_t flags, mode, resolve;
};

struct sys_mount_attr {
        uint64_t set, clear, propagation, userns_fd;
};

static inline int sys_openat2(int dir_fd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
        struct sys_open_how how = { .flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve };
        int fd;

        /* EAGAIN: something was renamed while a path was kept beneath its root. A caller whose enemy renames all the
         * time gets the error in the end. */
        for (int i = 0; i < 1000; i++) {
                fd = (int) syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
                if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
                        break;
        }
        return fd;
}

static inline int sys_open_tree(int dir_fd, const char *path, unsigned flags) {
        return (int) syscall(SYS_open_tree, dir_fd, path, flags);
}

/* Attach the mount behind @mount_fd on what @target_fd stands for. */
static inline int sys_move_mount(int mount_fd, int target_fd) {
        return (int) syscall(SYS_move_mount, mount_fd, "", target_fd, "",
                             SYS_MOVE_MOUNT_F_EMPTY_PATH | SYS_MOVE_MOUNT_T_EMPTY_PATH);
}

static inline int sys_mount_setattr(int mount_fd, unsigned flags, const struct sys_mount_attr *attr) {
        return (int) syscall(SYS_mount_setattr, mount_fd, "", flags | AT_EMPTY_PATH, attr, sizeof(*attr));
}

static inline int sys_fsopen(const char *type) {
        return (int) syscall(SYS_fsopen, type, SYS_FSOPEN_CLOEXEC);
}

static inline int sys_fsconfig(int fs_fd, unsigned cmd, const char *key, const char *value) {
        return (int) syscall(SYS_fsconfig, fs_fd, cmd, key, value, 0);
}

static inline int sys_fsmount(int fs_fd, unsigned attr) {
        return (int) syscall(SYS_fsmount, fs_fd, SYS_FSMOUNT_CLOEXEC, attr);
}

static inline int sys_close_range(unsigned first, unsigned last, unsigned flags) {
        return (int) syscall(SYS_close_range, first, last, flags);
}
