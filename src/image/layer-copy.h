/* SPDX-License-Identifier: Apache-2.0 */
/* layer-copy - copies within the layers: a file with all that belongs to it, the metadata of a folder. Private to
 * layer*. */
#pragma once
#include <stdint.h>
#include "base/err.h"

/* Owner, mode, xattrs (but overlay's marks) and times of the folder @from to the folder @to. */
_must_use_ int layer_copy_meta(int from, int to, struct err *err);
/* Copy what is no folder: @from_name in @from_dir to the new name @to_name in @to_dir. Holes stay holes; devices are
 * made, never opened. Adds to @bytes. */
_must_use_ int layer_copy_file(int from_dir, const char *from_name, int to_dir, const char *to_name, uint64_t *bytes,
                               struct err *err);
