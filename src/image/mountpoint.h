/* SPDX-License-Identifier: Apache-2.0 */
/* mountpoint - where the file system of an open folder is mounted: kubelet finds the device by it. */
#pragma once
#include <stdint.h>
#include "base/err.h"

/* @ret: caller frees. */
_must_use_ int mountpoint_of(int dirfd, char **ret, struct err *err);

/* A mount of this mount namespace. Its number is used again once it is gone: the device of its root tells most
 * of those apart. */
struct mount_id {
        uint64_t id;
        unsigned major, minor;
};
/* Of the mount whose root @fd is, also while it is detached. */
_must_use_ int mount_id_of(int fd, struct mount_id *ret, struct err *err);
/* Where it is; caller frees. NULL: nowhere. */
_must_use_ int mountpoint_of_id(const struct mount_id *mount, char **ret, struct err *err);
