/* SPDX-License-Identifier: Apache-2.0 */
/* layer-merge - a layer in overlay's form put onto a whole tree: what overlay would show of the two. Private to image/.
 */
#pragma once
#include <stdbool.h>
#include "base/err.h"

/* Whiteouts remove, opaque folders clear what was there before, everything else replaces it; folders of both stay one,
 * with the metadata of @from's. @move: what @from has may be moved out of it, where that is possible. Hardlinks stay
 * hardlinks. After a failure @to is of no worth. A whole tree onto an empty one is a plain copy, sharing blocks where
 * the file system can. */
_must_use_ int layer_merge(int from, int to, bool move, struct err *err);
