/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot-change - what was written above an image: told apart from it, and put onto another. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "image/images.h"
#include "image/layer-merge.h"
#include "image/snapshot.h"
#include "image/tree-changes.h"

enum { ARENA_BYTES = 1 << 20, NAME_BYTES = 160 };

static bool is_whole(struct images *s, const struct writable *w) {
        return layers_snapshotter(images_layers(s))->ops->whole || w->shifted;
}

/* --- what was written --------------------------------------------------------------------------------------------- */

/* A name that a start removes. */
static const char *changes_name(const char *id, char ret[NAME_BYTES]) {
        (void) snprintf(ret, NAME_BYTES, CHANGES_PREFIX "%s", id);
        return ret;
}

static int compare(struct images *s, const struct writable *w, int cancel_fd, int *ret_fd, struct err *err) {
        struct snapshotter *how = layers_snapshotter(images_layers(s));
        _cleanup_(fd_closep) int snapshots = -1, below = -1, now = -1, out = -1;
        char name[NAME_BYTES];
        int r = snapshots_open(s, &snapshots, err);

        if (r == 0)
                r = fs_remove_tree(snapshots, changes_name(w->id, name), err);
        if (r == 0 && mkdirat(snapshots, name, 0700) < 0)
                r = err_sys(err, errno, "create folder of changes");
        if (r < 0)
                return r;
        out = openat(snapshots, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (out < 0)
                return err_sys(err, errno, "open folder of changes");
        r = whole_image_open(s, w, &below, err);
        if (r == 0)
                r = how->ops->open(how, &w->tree, false, &now, err);
        if (r == 0)
                r = tree_changes(below, now, out, w->shifted, cancel_fd, err);
        if (r == 0)
                *ret_fd = TAKE_FD(out);
        return r;
}

int snapshot_changes(struct images *s, const struct snapshot_changes_args *args, struct arena *arena,
                     struct snapshot_changes *ret, struct err *err) {
        struct snapshot_record record;
        struct writable w;
        int r = snapshot_load(s, args->id, arena, &w, &record, err);

        if (r < 0)
                return r;
        *ret = (struct snapshot_changes){ .image_id = record.image,
                                          .fd = -1,
                                          .compared = !args->elsewhere && is_whole(s, &w),
                                          .owners = record.shifted };
        if (ret->compared && args->may_change) {
                ret->compared = false;
                r = err_set(err, ERR_PRECONDITION,
                            "its file system is a copy of the image (snapshotter \"%s\"%s), with which it is compared: "
                            "it has to be paused for that",
                            layers_snapshotter(images_layers(s))->ops->name,
                            record.shifted ? ", for a user namespace" : "");
        } else if (ret->compared) {
                r = compare(s, &w, args->cancel_fd, &ret->fd, err);
        } else if (!args->elsewhere) {
                ret->fd = openat(w.dirfd, "upper", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                r = ret->fd < 0 ? err_sys(err, errno, "open snapshot %s", args->id) : 0;
        }
        fd_close(w.dirfd);
        return r;
}

void snapshot_changes_done(struct images *s, const char *id) {
        _cleanup_(fd_closep) int snapshots = -1;
        char name[NAME_BYTES];
        struct err err;

        if (snapshots_open(s, &snapshots, &err) < 0 || fs_remove_tree(snapshots, changes_name(id, name), &err) < 0)
                log_warn("what was compared stays until the next start", "snapshot", id, "error", err.msg, NULL);
}

/* --- another image ------------------------------------------------------------------------------------------------ */

/* A copy of the new image with what was written to the old one's; on disk, since the old one goes. */
static int make_tree(struct images *s, const struct writable *w, const char *const *layers, const struct tree *new,
                     struct arena *arena, struct err *err) {
        struct snapshotter *how = layers_snapshotter(images_layers(s));
        _cleanup_(fd_closep) int changes = -1, fd = -1;
        struct writable to = *w;
        const char **names = NULL;
        int r = compare(s, w, -1, &changes, err);

        if (r == 0)
                r = layers_name(s, layers, arena, &names, &to.n_layers, err);
        if (r == 0)
                r = how->ops->remove(how, new, err);
        if (r < 0)
                return r;
        to.tree = *new;
        to.layers = names;
        r = whole_writable_make(s, &to, err);
        if (r == 0)
                r = how->ops->open(how, new, false, &fd, err);
        if (r == 0)
                r = layer_merge(changes, fd, true, err);
        return r == 0 && syncfs(fd) < 0 ? err_sys(err, errno, "sync snapshot %s", w->id) : r;
}

static int change_all(struct images *s, const char *id, const struct snapshot_record *to,
                      int (*write)(void *userdata, struct err *err), void *userdata, struct err *err) {
        int r = store_begin(images_store(s), err);

        if (r < 0)
                return r;
        r = snapshot_change_record(s, id, to, err);
        if (r == 0)
                r = write(userdata, err);
        if (r == 0)
                return store_commit(images_store(s), true, err);
        store_rollback(images_store(s));
        return r;
}

static void remove_tree(struct images *s, const struct tree *tree) {
        struct snapshotter *how = layers_snapshotter(images_layers(s));
        struct err err;

        if (how->ops->remove(how, tree, &err) < 0)
                log_warn("a copy of an image stays until the next start", "snapshot", tree->id, "error", err.msg, NULL);
}

/* @w: as it is; @to: as it is to be, its layers held. */
static int set_image(struct images *s, const struct writable *w, struct snapshot_record *to,
                     int (*write)(void *userdata, struct err *err), void *userdata, struct arena *arena,
                     struct err *err) {
        const bool whole = is_whole(s, w) && faccessat(w->dirfd, w->tree.name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
        struct tree new;
        int r = 0;

        if (!*to->layers)
                return err_set(err, ERR_PRECONDITION, "image has no layers");
        if (!whole) /* overlay's, as in another's home also is what has a whole tree below */
                return change_all(s, w->id, to, write, userdata, err);
        to->tree++;
        new = snapshot_tree(w->id, w->dirfd, to->tree, arena);
        r = make_tree(s, w, to->layers, &new, arena, err);
        if (r == 0)
                r = change_all(s, w->id, to, write, userdata, err);
        snapshot_changes_done(s, w->id);
        (void) unlinkat(w->dirfd, "image-usage", 0);
        remove_tree(s, r == 0 ? &w->tree : &new);
        return r;
}

/* The old layers are let go of when the disk knows that they are not wanted any more. */
int snapshot_set_image(struct images *s, const char *id, const char *image_id,
                       int (*write)(void *userdata, struct err *err), void *userdata, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
        struct snapshot_record old, new;
        struct writable w;
        struct err later;
        int r = snapshot_load(s, id, arena, &w, &old, err);

        if (r < 0)
                return r;
        new = old;
        new.image = image_id;
        r = images_hold(s, image_id, arena, &new.layers, err);
        if (r == 0) {
                r = set_image(s, &w, &new, write, userdata, arena, err);
                if (images_release(s, r == 0 ? old.layers : new.layers, &later) < 0)
                        log_warn("can't release layers", "snapshot", id, "error", later.msg, NULL);
        }
        fd_close(w.dirfd);
        return r;
}
