/* SPDX-License-Identifier: Apache-2.0 */
/* tree-diff - are two unpacked trees the same: names, kinds, modes, owners, times (but folders' and
 * whiteouts', which an archive need not tell), devices, links, extended attributes, contents? Nobody may write to them
 * meanwhile. Private to image/. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include "base/err.h"
#include "base/id-map.h"

struct tree_diff {
        bool same;
        char path[256], what[64]; /* the first difference; path is cut */
};
/* Of the open folders @a_fd and @b_fd (borrowed). @give_up (may be NULL) becomes true: ERR_CANCELLED. */
_must_use_ int tree_diff(int a_fd, int b_fd, const atomic_bool *give_up, struct tree_diff *ret, struct err *err);

enum { TREE_DIFF_BUFFERS = 256 * 1024 };
/* Is @name in the open folder @a_fd, where it has to be, the same in @b_fd? Of folders only they themselves are looked
 * at.
 * @owners: @b_fd's are those of @a_fd in that user namespace, as tree-shift.h has them; NULL: the same. @buffers: so
 * many bytes for it. > 0: they differ. */
_must_use_ int tree_diff_entry(int a_fd, int b_fd, const char *name, const struct id_maps *owners, char *buffers,
                               struct err *err);
