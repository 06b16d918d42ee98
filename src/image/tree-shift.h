/* SPDX-License-Identifier: Apache-2.0 */
/* tree-shift - a tree's owners as the host's ids of a user namespace: what an idmapped mount would show, but on disk.
 * Private to image/. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/id-map.h"

/* Owners of all in the folder @to (borrowed, nobody else may work in it), which is a copy of the folder @from: those
 * of @from as @owners has them, POSIX ACLs and file capabilities too; modes stay. Who has no id in there becomes
 * nobody, whom the namespace does not have either. Once more is no harm, nor are names of one file. ERR_PRECONDITION:
 * @owners leave no id for nobody. */
_must_use_ int tree_shift(int from, int to, const struct id_maps *owners, struct err *err);

/* The host's id for the image's @id, as tree_shift() gives it. */
uint32_t tree_shift_id(const struct id_map *maps, size_t n, uint32_t id);
/* The same for the value of an extended attribute, which may become longer; @value has room for 64 bytes at least. The
 * new length. */
size_t tree_shift_xattr(const char *name, char *value, size_t len, const struct id_maps *owners);
