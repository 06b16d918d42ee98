/* SPDX-License-Identifier: Apache-2.0 */
/* tree-folder - trees that are folders: overlay's layers, and the copies of "plain". */
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "image/layer-merge.h"
#include "image/snapshot-overlay.h"
#include "image/snapshotter.h"

int tree_folder_open(struct snapshotter *s, const struct tree *what, bool sealed, int *ret_fd, struct err *err) {
        (void) s;
        (void) sealed;
        *ret_fd = openat(what->dirfd, what->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return *ret_fd < 0 ? err_sys(err, errno, "open the folder of %s %s", what->kind, what->id) : 0;
}

/* What the store's own mount forbids is not meant for containers. */
int tree_folder_mount(struct snapshotter *s, const struct tree *what, bool sealed, const char *label, int *ret_fd,
                      struct err *err) {
        /* Private: a clone is a peer of the mount that it comes from, which would get what a container mounts there. */
        struct mount_attr attr = { .attr_clr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
                                   .propagation = MS_PRIVATE };
        _cleanup_(fd_closep) int dir = -1, fd = -1;
        int r;

        if (label)
                return err_set(err, ERR_PRECONDITION,
                               "files of the snapshotter \"%s\" can't have an SELinux context for each container; "
                               "overlay's and zfs' can",
                               s->ops->name);
        r = tree_folder_open(s, what, sealed, &dir, err);
        if (r < 0)
                return r;
        fd = open_tree(dir, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
                return err_sys(err, errno, "clone the mount of %s %s", what->kind, what->id);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int make_folder(const struct tree *what, struct err *err) {
        return mkdirat(what->dirfd, what->name, 0700) < 0
                       ? err_sys(err, errno, "create the folder of %s %s", what->kind, what->id)
                       : 0;
}

static int overlay_make(struct snapshotter *s, const struct tree *what, const struct tree *from, struct err *err) {
        (void) s;
        (void) from;
        return make_folder(what, err);
}

static int plain_make(struct snapshotter *s, const struct tree *what, const struct tree *from, struct err *err) {
        _cleanup_(fd_closep) int from_fd = -1, fd = -1;
        int r = make_folder(what, err);

        if (r < 0 || !from)
                return r;
        r = tree_folder_open(s, from, true, &from_fd, err);
        if (r == 0)
                r = tree_folder_open(s, what, false, &fd, err);
        if (r == 0)
                r = layer_merge(from_fd, fd, false, err);
        return r < 0 ? err_wrap(err, "copy layer %s", from->id) : 0;
}

static int folder_remove(struct snapshotter *s, const struct tree *what, struct err *err) {
        (void) s;
        return fs_remove_tree(what->dirfd, what->name, err);
}

const struct snapshotter_ops snapshotter_overlay = {
        .name = "overlay",
        .make = overlay_make,
        .open = tree_folder_open,
        .mount = tree_folder_mount,
        .remove = folder_remove,
        .writable_make = overlay_writable_make,
        .writable_mount = overlay_writable_mount,
        .writable_usage = overlay_writable_usage,
        .check_idmap = overlay_check_idmap,
};

const struct snapshotter_ops snapshotter_plain = {
        .name = "plain",
        .whole = true,
        .make = plain_make,
        .open = tree_folder_open,
        .mount = tree_folder_mount,
        .remove = folder_remove,
        .writable_make = whole_writable_make,
        .writable_mount = whole_writable_mount,
        .writable_usage = whole_writable_usage,
        .check_idmap = whole_check_idmap,
};
