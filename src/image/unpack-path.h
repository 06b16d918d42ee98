/* SPDX-License-Identifier: Apache-2.0 */
/* unpack-path - names out of archives made safe, and symlinks followed inside a folder that nobody else changes. */
#pragma once
#include <stdbool.h>
#include "base/err.h"

enum {
        UNPACK_PATH_SIZE = 4096, /* of a buffer for a path */
        UNPACK_MAX_DEPTH = 256,  /* folders above an entry: what removes the tree goes down by recursion */
};

/* "/./a//b/" -> "a/b"; the root is "". Absolute names are taken as relative to the root. ERR_INVALID for "..", names of
 * more than 255 bytes (behind a whiteout's mark, where there is one), paths of more than 4095 or too deep. */
_must_use_ int unpack_path_clean(const char *name, char ret[UNPACK_PATH_SIZE], struct err *err);

/* Follow the symlinks in the clean @path as if @root_fd were "/": absolute targets and ".." stay inside. The last
 * component is followed only when @follow_last. Components that are missing are kept as they stand. */
_must_use_ int unpack_path_resolve(int root_fd, const char *path, bool follow_last, char ret[UNPACK_PATH_SIZE],
                                   struct err *err);

/* Open the clean @path below @root_fd without following any symlink; "" is the root. Descriptor or -errno. */
_must_use_ int unpack_path_open(int root_fd, const char *path, int flags);

/* @dir + "/" + @name. */
_must_use_ int unpack_path_join(const char *dir, const char *name, char ret[UNPACK_PATH_SIZE], struct err *err);
/* Where the last component starts. */
const char *unpack_path_base(const char *path);
