/* SPDX-License-Identifier: Apache-2.0 */
/* tree-copy - the contents of a folder, with all that tar-tree.h keeps of them, into an empty one. */
#pragma once
#include "image/tar-tree.h"

/* @args: of the tree that is copied; its write is not used. @to_fd: an empty folder, on whatever file system; borrowed.
 * What was copied stays after an error. The umask of the process is 0 meanwhile: for programs with one thread. */
_must_use_ int tree_copy(const struct tar_tree_args *args, int to_fd, struct err *err);
