/* SPDX-License-Identifier: Apache-2.0 */
/* volume - an image, or a part of one, as a read-only mount that is attached nowhere: CRI's image volumes. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/thread.h"
#include "image/images.h"
#include "image/snapshot-mount.h"
#include "image/snapshot.h"

static int raise_missing(int error, const char *sub_path, struct err *err) {
        if (error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENAMETOOLONG)
                return err_set(err, ERR_INVALID, "sub path \"%.256s\" is not in the image: %s", sub_path,
                               strerror(error));
        return err_sys(err, error, "open sub path \"%.256s\" of the image", sub_path);
}

/* Links of the image are followed, but never out of @root_fd. */
static int clone_part(int root_fd, const char *sub_path, int *ret_fd, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;

        if (!str_empty(sub_path)) {
                fd = fs_open_in_root(root_fd, sub_path, O_PATH, 0);
                if (fd < 0)
                        return raise_missing(-fd, sub_path, err);
        }
        *ret_fd = open_tree(fd >= 0 ? fd : root_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        return *ret_fd < 0 ? err_sys(err, errno, "clone the mount of the image") : 0;
}

struct job {
        const char *at; /* a folder */
        const char *sub_path;
        int root_fd, fd, r;
        struct err *err;
};

/* Before Linux 6.15 mounts can be cloned only where they are attached: in a mount namespace of this thread's own. */
static void *run(void *arg) {
        struct job *j = arg;

        if (unshare(CLONE_FS | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
                j->r = err_sys(j->err, errno, "leave the mount namespace");
        else if (move_mount(j->root_fd, "", AT_FDCWD, j->at, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                j->r = err_sys(j->err, errno, "attach the image");
        else
                j->r = clone_part(j->root_fd, j->sub_path, &j->fd, j->err);
        return NULL;
}

static int clone_part_of_detached(int root_fd, const char *at, const char *sub_path, int *ret_fd, struct err *err) {
        struct job job = { .at = at, .sub_path = sub_path, .root_fd = root_fd, .fd = -1, .err = err };
        pthread_t thread;

        if (thread_start(0, run, &job, &thread) != 0)
                return err_set(err, ERR_EXHAUSTED, "no thread can be started");
        (void) pthread_join(thread, NULL);
        if (job.r == 0)
                *ret_fd = job.fd;
        return job.r;
}

/* The only layer, of which overlay makes no mount: it is the image as it is. */
static int mount_one(struct images *s, const char *name, const struct snapshot_volume *v, int *ret_fd,
                     struct err *err) {
        struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t) v->args.userns_fd };
        _cleanup_(fd_closep) int root = openat(layers_dirfd(images_layers(s)), name,
                                               O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                                 fd = -1;
        int r = root < 0 ? err_sys(err, errno, "open the image's layer") : clone_part(root, v->sub_path, &fd, err);

        if (r < 0)
                return r;
        if (v->args.userns_fd >= 0 && mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
                return err_sys(err, errno, "map the owners in the image's layer");
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* A file system of its own is what carries a label, and overlay makes none of one layer: an empty folder of the
 * snapshot is the second. */
static int add_empty_layer(const char *id, struct arena *arena, struct overlay_args *args, struct err *err) {
        const char **both = arena_array(arena, const char *, 2);

        both[0] = arena_printf(arena, "../snapshots/%s/empty", id);
        both[1] = args->layers[0];
        if (mkdirat(args->layers_fd, both[0], 0755) < 0 && errno != EEXIST)
                return err_sys(err, errno, "make an empty layer");
        args->layers = both;
        args->n_layers = 2;
        return 0;
}

static int mount_layers(const char *id, struct overlay_args *args, const char *sub_path, struct arena *arena,
                        int *ret_fd, struct err *err) {
        _cleanup_(fd_closep) int root = -1;
        int r = args->n_layers == 1 ? add_empty_layer(id, arena, args, err) : 0;

        if (r == 0)
                r = overlay_mount(args, &root, err);
        if (r < 0)
                return r;
        if (!str_empty(sub_path))
                return clone_part_of_detached(root, args->layers_path, sub_path, ret_fd, err);
        *ret_fd = TAKE_FD(root);
        return 0;
}

int layers_mount(struct images *s, const char *id, const char *const *names, size_t n, struct arena *arena, int *ret_fd,
                 struct err *err) {
        struct overlay_args args = { .layers_fd = layers_dirfd(images_layers(s)),
                                     .layers_path = arena_printf(arena, "%s/layers", images_root(s)),
                                     .layers = names,
                                     .n_layers = n };

        return mount_layers(id, &args, "", arena, ret_fd, err);
}

/* Where the layer is a mount by itself. */
static int mount_elsewhere(struct images *s, const struct overlay_args *args, const struct snapshot_volume *v,
                           int *ret_fd, struct err *err) {
        struct snapshotter *how = layers_snapshotter(images_layers(s));
        const struct tree top = layer_tree(images_layers(s), args->layers[0]);
        _cleanup_(fd_closep) int root = -1, fd = -1;
        int r = how->ops->mount(how, &top, true, args->label, &root, err);

        if (r < 0)
                return r;
        if (str_empty(v->sub_path))
                fd = TAKE_FD(root);
        else
                r = clone_part_of_detached(root, args->layers_path, v->sub_path, &fd, err);
        if (r == 0 && v->args.userns_fd >= 0)
                r = whole_map_owners(fd, v->args.userns_fd, err);
        if (r == 0)
                *ret_fd = TAKE_FD(fd);
        return r;
}

static int mount_image(struct images *s, const char *id, struct overlay_args *args, const struct snapshot_volume *v,
                       struct arena *arena, int *ret_fd, struct err *err) {
        if (layers_snapshotter(images_layers(s))->ops->elsewhere)
                return mount_elsewhere(s, args, v, ret_fd, err);
        return args->n_layers == 1 && !args->label ? mount_one(s, args->layers[0], v, ret_fd, err)
                                                   : mount_layers(id, args, v->sub_path, arena, ret_fd, err);
}

/* --- without idmapped mounts ------------------------------------------------------------------------------------- */

/* The image @c->layers with the owners of @c->shifted. What a kill left of one that is not complete is made anew. */
static int make_copy(struct images *s, const struct writable *c, struct arena *arena, struct err *err) {
        struct snapshotter *how = layers_snapshotter(images_layers(s));
        const char *ready = arena_printf(arena, "ready.%s", c->layers[c->n_layers - 1]);
        int r;

        if (faccessat(c->dirfd, ready, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
                return 0;
        r = how->ops->remove(how, &c->tree, err);
        if (r == 0)
                r = whole_writable_make(s, c, err);
        return r == 0 ? fs_write_atomic(c->dirfd, ready, "", 0, 0600, false, err) : r;
}

static int mount_copy(struct images *s, const struct writable *of, const struct overlay_args *args,
                      const struct snapshot_volume *v, struct arena *arena, int *ret_fd, struct err *err) {
        struct writable copy = *of;
        _cleanup_(fd_closep) int root = -1;
        int r;

        copy.layers = args->layers;
        copy.n_layers = args->n_layers;
        copy.tree = snapshot_volume_tree(of->id, of->dirfd, args->layers[args->n_layers - 1], arena);
        r = make_copy(s, &copy, arena, err);
        if (r == 0)
                r = whole_tree_mount(s, &copy.tree, args->label, &root, err);
        if (r < 0)
                return r;
        if (!str_empty(v->sub_path))
                return clone_part_of_detached(root, args->layers_path, v->sub_path, ret_fd, err);
        *ret_fd = TAKE_FD(root);
        return 0;
}

/* As its container has them: a copy, where that one is. */
static int mount_as_container(struct images *s, const char *id, struct overlay_args *args,
                              const struct snapshot_volume *v, struct arena *arena, int *ret_fd, struct err *err) {
        struct writable w;
        int r = snapshot_load(s, id, arena, &w, NULL, err);

        if (r < 0)
                return r;
        r = w.shifted && v->args.userns_fd >= 0 ? mount_copy(s, &w, args, v, arena, ret_fd, err)
                                                : mount_image(s, id, args, v, arena, ret_fd, err);
        fd_close(w.dirfd);
        return r;
}

int volume_mount(struct images *s, const char *id, const char *const *layers, const struct snapshot_volume *volume,
                 int *ret_fd, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(1 << 20);
        struct overlay_args args = { .layers_fd = layers_dirfd(images_layers(s)),
                                     .layers_path = arena_printf(arena, "%s/layers", images_root(s)),
                                     .userns_fd = volume->args.userns_fd,
                                     .label = volume->args.label };
        struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV };
        _cleanup_(fd_closep) int fd = -1;
        const char **names = NULL;
        int r = layers_name(s, layers, arena, &names, &args.n_layers, err);

        args.layers = names;
        if (r == 0 && args.n_layers == 0)
                r = err_set(err, ERR_PRECONDITION, "the image has no layers");
        if (r == 0)
                r = mount_as_container(s, id, &args, volume, arena, &fd, err);
        if (r < 0)
                return r;
        /* What is below is the image itself, other containers' too: nobody may write to it. */
        if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
                return err_sys(err, errno, "make the mount of the image read-only");
        *ret_fd = TAKE_FD(fd);
        return 0;
}
