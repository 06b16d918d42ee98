/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot - what image.h declares of snapshots, and what only image/ needs. On disk: snapshots/ID/{upper,work}; in the
 * store: STORE_SNAPSHOT, {"image": id, "layers": [chain id, ...], "volumes": [chain id, ...], "tree": number, "uids":
 * [[inside, outside, length], ...], "gids": ...} (volumes: of image volumes, missing when there are none; the last two:
 * whose the files are on disk, missing when they are whose the image says), by which images_new() counts holds. A
 * snapshot exists when both do.
 * Where a writable layer is a whole tree, each change of its image makes another: "upper", "upper.1", "upper.2" ...;
 * the record says which one counts. Private to image/. */
#pragma once
#include "image/image.h"
#include "image/snapshot-mount.h"
#include "image/snapshotter.h"

/* Short names of those of @layers (chain ids, lowest first) that make up the image: all, or where a layer is a whole
 * tree the top one. In @arena. All must be there. */
_must_use_ int layers_name(struct images *s, const char *const *layers, struct arena *arena, const char ***ret,
                           size_t *ret_n, struct err *err);
/* volume.c: an image whose layers the caller holds for the snapshot @id, or a part of it, as a detached read-only
 * mount. */
_must_use_ int volume_mount(struct images *s, const char *id, const char *const *layers,
                            const struct snapshot_volume *volume, int *ret_fd, struct err *err);
/* The layers @names of overlay's (short names, lowest first) as one detached mount, for the snapshot @id. */
_must_use_ int layers_mount(struct images *s, const char *id, const char *const *names, size_t n, struct arena *arena,
                            int *ret_fd, struct err *err);
/* snapshot-home.c: overlay_mount() with an upper_mount_fd, of which the owner may do to it what he likes. */
_must_use_ int snapshot_mount_at_home(const struct overlay_args *args, int *ret_mount_fd, struct err *err);
/* Removes what has a folder but no record, or a record but no folder: left over by a crash. What can't be removed is
 * tried again at the next start. Before serving. */
_must_use_ int snapshots_reconcile(struct images *s, struct err *err);

/* In that folder: what was written to a snapshot, while a commit reads it. */
#define CHANGES_PREFIX ".changes-"

struct snapshot_record {
        const char *image;
        const char **layers, **volumes; /* chain ids, lowest first, NULL-terminated */
        uint64_t tree;
        const struct id_maps *shifted; /* as of struct writable */
};
/* The snapshot @id: @ret's folder is the caller's to close, the rest lives in @arena. @ret_record may be NULL. */
_must_use_ int snapshot_load(struct images *s, const char *id, struct arena *arena, struct writable *ret,
                             struct snapshot_record *ret_record, struct err *err);
/* In a transaction of the caller's: image, layers and tree become those of @to. */
_must_use_ int snapshot_change_record(struct images *s, const char *id, const struct snapshot_record *to,
                                      struct err *err);
/* The tree @number of the snapshot in the folder @dirfd. */
struct tree snapshot_tree(const char *id, int dirfd, uint64_t number, struct arena *arena);
/* For it, a copy of the image whose top layer has the short name @layer: an image volume with the ids of a user
 * namespace. A file "ready.LAYER" says that it is complete. */
struct tree snapshot_volume_tree(const char *id, int dirfd, const char *layer, struct arena *arena);
/* The folder of all snapshots, the caller's to close. */
_must_use_ int snapshots_open(struct images *s, int *ret, struct err *err);

struct snapshot_changes_args {
        const char *id;
        bool elsewhere, may_change;
        int cancel_fd; /* readable: ERR_CANCELLED; -1: none */
};
struct snapshot_changes {
        const char *image_id;         /* what was below */
        int fd;                       /* a folder in overlay's form, the caller's to close; -1: see @elsewhere */
        bool compared;                /* it was made by comparing trees */
        const struct id_maps *owners; /* the ids that its files have on disk, where the snapshot knows; else NULL */
};
/* What was written above the image. Where a layer is a whole tree that is made by comparing: nobody may write to it,
 * @may_change is ERR_PRECONDITION, and snapshot_changes_done() removes it. @elsewhere: of snapshot_create_at(). In
 * @arena. */
_must_use_ int snapshot_changes(struct images *s, const struct snapshot_changes_args *args, struct arena *arena,
                                struct snapshot_changes *ret, struct err *err);
void snapshot_changes_done(struct images *s, const char *id);
