/* SPDX-License-Identifier: Apache-2.0 */
/* tree-changes - what became of a tree, as a layer in overlay's form: what layer_merge() puts onto a tree, taken off
 * again. Private to image/. */
#pragma once
#include "base/err.h"
#include "base/id-map.h"

/* Of the open folders @from and, nobody writing to it, @to; into the empty folder @out, all borrowed: what is new or
 * another in @to (tree-diff.h), folders on the way, and whiteouts for what is gone. Hardlinks stay hardlinks.
 * @owners: @to's are those of @from in that user namespace (tree-shift.h), and so are @out's; NULL: the same.
 * @cancel_fd: readable: ERR_CANCELLED; -1: none. ERR_EXHAUSTED: deeper than 1000 folders, or more than a million files
 * with several names. */
_must_use_ int tree_changes(int from, int to, int out, const struct id_maps *owners, int cancel_fd, struct err *err);
