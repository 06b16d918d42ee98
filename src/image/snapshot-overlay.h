/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot-overlay - writable layers as overlay's upper folders. On a file system of others (snapshot_create_at()) also
 * those of snapshotters that don't stack layers: of their layers the top one is all. Private to image/. */
#pragma once
#include "image/snapshotter.h"

_must_use_ int overlay_writable_make(struct images *s, const struct writable *w, struct err *err);
_must_use_ int overlay_writable_mount(struct images *s, const struct writable *w, const struct snapshot_args *how,
                                      int *ret_fd, struct err *err);
_must_use_ int overlay_writable_usage(struct images *s, const struct writable *w, const atomic_bool *give_up,
                                      uint64_t *ret_bytes, uint64_t *ret_inodes, struct err *err);
_must_use_ int overlay_check_idmap(struct images *s, int userns_fd, struct err *err);
