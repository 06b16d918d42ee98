/* SPDX-License-Identifier: Apache-2.0 */
/* fs - files and folders, safely: atomic replacement, bounded reads, removal that never leaves its root. Thread-safe.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include "base/err.h"

/* Whole file, at most @max bytes (else ERR_EXHAUSTED). @ret is NUL-terminated; caller frees. A missing file is
 * ERR_INTERNAL with sys_errno ENOENT. @ret_len may be NULL. @dirfd may be AT_FDCWD. */
_must_use_ int fs_read_file(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len, struct err *err);

/* Replace @path by @data: temporary name beside it, fsync when @durable, rename, fsync of the folder when @durable. */
_must_use_ int fs_write_atomic(int dirfd, const char *path, const void *data, size_t len, mode_t mode, bool durable,
                               struct err *err);

/* Write to an existing file in one write(2): cgroup and /proc files. */
_must_use_ int fs_write_existing(int dirfd, const char *path, const char *value, struct err *err);

/* mkdir -p; existing folders are fine. */
_must_use_ int fs_mkdir_p(const char *path, mode_t mode, struct err *err);

/* rm -rf without following symlinks or crossing into other mounts; missing is fine. The tree may be anybody's and of
 * any depth; what in it is immutable or append-only goes, too. */
_must_use_ int fs_remove_tree(int dirfd, const char *path, struct err *err);

/* Bytes (blocks) and inodes used below an open folder, itself included, hardlinks counted once per name. The tree may
 * be anybody's, of any depth, and change meanwhile; ERR_ABORTED when it was moved under our feet. Takes about a second
 * for a few hundred thousand files that are in the cache. @until: when to give up with ERR_CANCELLED; NULL: never.
 */
struct fs_until {
        const atomic_bool *stop; /* it becomes true; NULL: never */
        int end_fd;              /* it becomes readable; 0: never */
};
_must_use_ int fs_usage(int dirfd, const struct fs_until *until, uint64_t *ret_bytes, uint64_t *ret_inodes,
                        struct err *err);

/* openat2(2) with RESOLVE_IN_ROOT: symlinks are followed, but never out of @rootfd. Returns the descriptor
 * (O_CLOEXEC added) or -errno, without an err since callers decide what a miss means. */
_must_use_ int fs_open_in_root(int rootfd, const char *path, int flags, mode_t mode);

/* A copy of the program @path in a memfd sealed against any change, opened read-only: for programs that run where a
 * container might get hold of /proc/PID/exe. @name: what the memfd is called. Others may execute but not read it: the
 * root of a user namespace who runs it can't be traced, and its /proc/PID/fd not be read, by neighbours there. */
_must_use_ int fs_sealed_copy(const char *path, const char *name, int *ret_fd, struct err *err);

int fs_sync_dir(int dirfd, const char *path);                      /* 0 or -errno */
_must_use_ int fs_write_all(int fd, const void *data, size_t len); /* 0 or -errno */
