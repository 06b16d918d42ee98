/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot-whole - writable layers that are copies of the image's whole tree. On disk its files have the owners that
 * the image says, and in a pod with a user namespace an idmapped mount shows them as its own; where there is no such
 * mount they are made the pod's on disk, of overlay's images, too. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/images.h"
#include "image/layer-merge.h"
#include "image/snapshot.h"
#include "image/tree-shift.h"

int whole_image_open(struct images *s, const struct writable *w, int *ret_fd, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = NULL;
        _cleanup_(fd_closep) int fd = -1;
        int r;

        if (layers_snapshotter(images_layers(s))->ops->whole)
                return layer_open(images_layers(s), w->layers[w->n_layers - 1], ret_fd, err);
        arena = arena_new(64 * 1024);
        r = layers_mount(s, w->id, w->layers, w->n_layers, arena, &fd, err);
        if (r < 0)
                return r;
        *ret_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return *ret_fd < 0 ? err_sys(err, errno, "open the image") : 0;
}

/* What overlay would show, as one folder. */
static int merge_layers(struct images *s, const struct writable *w, struct err *err) {
        struct snapshotter *how = layers_snapshotter(images_layers(s));
        _cleanup_(fd_closep) int to = -1;
        int r = how->ops->make(how, &w->tree, NULL, err);

        if (r == 0)
                r = how->ops->open(how, &w->tree, false, &to, err);
        for (size_t i = 0; r == 0 && i < w->n_layers; i++) {
                _cleanup_(fd_closep) int from = -1;

                r = layer_open(images_layers(s), w->layers[i], &from, err);
                if (r == 0)
                        r = layer_merge(from, to, false, err);
        }
        return r;
}

static int shift(struct images *s, const struct writable *w, struct err *err) {
        struct snapshotter *how = layers_snapshotter(images_layers(s));
        _cleanup_(fd_closep) int from = -1, to = -1;
        int r = whole_image_open(s, w, &from, err);

        if (r == 0)
                r = how->ops->open(how, &w->tree, false, &to, err);
        return r == 0 ? tree_shift(from, to, w->shifted, err) : r;
}

int whole_writable_make(struct images *s, const struct writable *w, struct err *err) {
        struct snapshotter *how = layers_snapshotter(images_layers(s));
        struct tree top;
        int r;

        if (w->n_layers == 0)
                return err_set(err, ERR_PRECONDITION, "image has no layers");
        top = layer_tree(images_layers(s), w->layers[w->n_layers - 1]);
        r = how->ops->whole ? how->ops->make(how, &w->tree, &top, err) : merge_layers(s, w, err);
        return r == 0 && w->shifted ? shift(s, w, err) : r;
}

int whole_map_owners(int mount_fd, int userns_fd, struct err *err) {
        struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t) userns_fd };

        if (mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0)
                return 0;
        return errno == EINVAL ? err_set(err, ERR_PRECONDITION,
                                         "the file system of the images has no idmapped mounts, which pods with a user "
                                         "namespace need")
                               : err_sys(err, errno, "map the owners of the snapshot's files");
}

int whole_tree_mount(struct images *s, const struct tree *tree, const char *label, int *ret_fd, struct err *err) {
        struct snapshotter *how = layers_snapshotter(images_layers(s));

        if (label && !how->ops->whole)
                return err_set(
                        err, ERR_PRECONDITION,
                        "it is a copy of an image, since there are no idmapped mounts here: its files can't have "
                        "an SELinux context for each container");
        return how->ops->mount(how, tree, false, label, ret_fd, err);
}

int whole_writable_mount(struct images *s, const struct writable *w, const struct snapshot_args *args, int *ret_fd,
                         struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        int r = whole_tree_mount(s, &w->tree, args->label, &fd, err);

        if (r == 0 && args->userns_fd >= 0 && !w->shifted)
                r = whole_map_owners(fd, args->userns_fd, err);
        if (r == 0)
                *ret_fd = TAKE_FD(fd);
        return r;
}

int whole_check_idmap(struct images *s, int userns_fd, struct err *err) {
        _cleanup_(fd_closep) int fd =
                open_tree(layers_dirfd(images_layers(s)), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

        return fd < 0 ? err_sys(err, errno, "clone the mount of the layers") : whole_map_owners(fd, userns_fd, err);
}

/* What the image's own tree holds, kept beside the snapshot: it changes no more. */
static int usage_of_image(struct images *s, const struct writable *w, const struct fs_until *until, uint64_t *ret_bytes,
                          uint64_t *ret_inodes, struct err *err) {
        unsigned long long bytes, inodes;
        _cleanup_(freep) char *said = NULL;
        _cleanup_(fd_closep) int fd = -1;
        char note[64], *end;
        int r;

        if (fs_read_file(w->dirfd, "image-usage", sizeof(note), &said, NULL, err) == 0) {
                bytes = strtoull(said, &end, 10);
                inodes = strtoull(end, NULL, 10);
                *ret_bytes = bytes;
                *ret_inodes = inodes;
                return 0;
        }
        r = whole_image_open(s, w, &fd, err);
        if (r == 0)
                r = fs_usage(fd, until, ret_bytes, ret_inodes, err);
        if (r < 0)
                return r;
        (void) snprintf(note, sizeof(note), "%llu %llu", (unsigned long long) *ret_bytes,
                        (unsigned long long) *ret_inodes);
        return fs_write_atomic(w->dirfd, "image-usage", note, strlen(note), 0600, false, err);
}

/* What is there beyond the image: as overlay's upper but for files that were changed in place. */
int whole_writable_usage(struct images *s, const struct writable *w, const atomic_bool *give_up, uint64_t *ret_bytes,
                         uint64_t *ret_inodes, struct err *err) {
        struct snapshotter *how = layers_snapshotter(images_layers(s));
        const struct fs_until until = { .stop = give_up };
        uint64_t bytes = 0, inodes = 0, image_bytes = 0, image_inodes = 0;
        _cleanup_(fd_closep) int fd = -1;
        int r = how->ops->open(how, &w->tree, false, &fd, err);

        if (r == 0)
                r = fs_usage(fd, &until, &bytes, &inodes, err);
        if (r == 0)
                r = usage_of_image(s, w, &until, &image_bytes, &image_inodes, err);
        if (r < 0)
                return r;
        *ret_bytes = bytes > image_bytes ? bytes - image_bytes : 0;
        *ret_inodes = inodes > image_inodes ? inodes - image_inodes : 0;
        return 0;
}
