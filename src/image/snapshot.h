/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot - what image.h declares of snapshots, and what only image/ needs. On disk: snapshots/ID/{upper,work}; in the
 * store: STORE_SNAPSHOT, {"layers": [chain id, ...], "volumes": [chain id, ...]} (the second: of image volumes, missing
 * when there are none), by which images_new() counts holds. A snapshot exists when both do. Private to image/. */
#pragma once
#include "image/image.h"
#include "image/snapshot-mount.h"

/* Short names of those of @layers (chain ids, lowest first) that make up the image: all, or where a layer is a whole
 * tree the top one. In @arena. All must be there. */
_must_use_ int layers_name(struct images *s, const char *const *layers, struct arena *arena, const char ***ret,
                           size_t *ret_n, struct err *err);
/* volume.c: an image whose layers the caller holds for the snapshot @id, or a part of it, as a detached read-only
 * mount. */
_must_use_ int volume_mount(struct images *s, const char *id, const char *const *layers,
                            const struct snapshot_volume *volume, int *ret_fd, struct err *err);
/* snapshot-home.c: overlay_mount() with an upper_mount_fd, of which the owner may do to it what he likes. */
_must_use_ int snapshot_mount_at_home(const struct overlay_args *args, int *ret_mount_fd, struct err *err);
/* Removes what has a folder but no record, or a record but no folder: left over by a crash. Before serving. */
_must_use_ int snapshots_reconcile(struct images *s, struct err *err);

/* What was written above the image, as a folder in overlay's form (@ret_fd, the caller's to close). Where a layer is a
 * whole tree that is made by comparing: nobody may write to it, and snapshot_changes_done() removes it. @ret_fd NULL:
 * it is elsewhere. @ret_image_id: in @arena. */
_must_use_ int snapshot_changes(struct images *s, const char *id, int cancel_fd, struct arena *arena,
                                const char **ret_image_id, int *ret_fd, struct err *err);
void snapshot_changes_done(struct images *s, const char *id);
