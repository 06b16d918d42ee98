/* SPDX-License-Identifier: Apache-2.0 */
/* volumes - folders that an image declares as volumes (Config.Volumes). Kubernetes promises nothing about them. We keep
 * them in the container's own layer: what the image has there is seen without copying, and goes with the container.
 * Only under a read-only root does such a folder need a mount of its own, to stay writable. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/fs.h"
#include "pod/specgen.h"

enum { MAX_VOLUMES = 256 };

/* By somebody who is the pod's root: to an idmapped mount ours is nobody. This thread's capabilities stay, which would
 * go with its being root. */
static int mkdir_as(int at, const char *name, uint32_t uid, uint32_t gid) {
        struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
        int r;

        if (syscall(SYS_capget, &head, caps) < 0)
                return -errno;
        (void) setfsgid(gid);
        (void) setfsuid(uid);
        r = syscall(SYS_capset, &head, caps) < 0 || mkdirat(at, name, 0755) < 0 ? -errno : 0;
        (void) setfsuid(0);
        (void) setfsgid(0);
        return r;
}

/* mkdir -p inside the root; links of the image are followed, but never out of it. An open folder or -errno. */
static int make_folder(const struct spec *spec, const char *path, struct arena *arena) {
        int rootfs_fd = spec->rootfs_mount_fd;
        _cleanup_(fd_closep) int at = -1;
        uint32_t uid, gid;

        (void) id_maps_root(&spec->user_ids, &uid, &gid);
        for (const char *slash = path; slash;) {
                const char *name = slash + 1, *next = strchr(name, '/');
                const char *prefix = next ? arena_strndup(arena, path, (size_t) (next - path)) : path;
                int fd = fs_open_in_root(rootfs_fd, prefix, O_PATH | O_DIRECTORY, 0);

                if (fd == -ENOENT) {
                        const char *leaf = arena_strndup(arena, name, next ? (size_t) (next - name) : strlen(name));
                        int r = mkdir_as(at >= 0 ? at : rootfs_fd, leaf, uid, gid);

                        if (r < 0 && r != -EEXIST)
                                return r;
                        fd = fs_open_in_root(rootfs_fd, prefix, O_PATH | O_DIRECTORY, 0);
                }
                if (fd < 0)
                        return fd;
                (void) fd_close(at);
                at = fd;
                slash = next;
        }
        return TAKE_FD(at);
}

struct split {
        int rootfs_fd;
        const char *const *paths;
        size_t n;
        int root_clone, volume_clones[MAX_VOLUMES]; /* -1: none */
        int error;
        const char *step;
};

static int clone_at(int dirfd, const char *path, unsigned flags) {
        return open_tree(dirfd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
}

/* Clones the root and its volumes as detached mounts. Mounts can be cloned only where they are attached, so this thread
 * leaves for a mount namespace of its own, attaches the root there, and the namespace goes with the thread: nothing
 * shows on the host, whatever happens. */
static void *split_thread(void *arg) {
        struct split *s = arg;

        s->error = 0;
        s->step = "leave the mount namespace";
        if (unshare(CLONE_FS | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
                goto fail;
        s->step = "attach the root file system";
        if (move_mount(s->rootfs_fd, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH) < 0)
                goto fail;
        s->step = "clone the root file system";
        s->root_clone = clone_at(s->rootfs_fd, "", AT_EMPTY_PATH);
        if (s->root_clone < 0)
                goto fail;
        s->step = "clone a volume";
        for (size_t i = 0; i < s->n; i++) {
                int fd = fs_open_in_root(s->rootfs_fd, s->paths[i], O_PATH | O_DIRECTORY, 0);
                if (fd < 0) {
                        s->error = -fd;
                        return NULL;
                }
                s->volume_clones[i] = clone_at(fd, "", AT_EMPTY_PATH);
                (void) fd_close(fd);
                if (s->volume_clones[i] < 0)
                        goto fail;
        }
        return NULL;
fail:
        s->error = errno;
        return NULL;
}

static void split_close(struct split *s) {
        s->root_clone = fd_close(s->root_clone);
        for (size_t i = 0; i < s->n; i++)
                s->volume_clones[i] = fd_close(s->volume_clones[i]);
}

static int split_root(struct split *s, struct err *err) {
        pthread_t thread;
        int r;

        s->root_clone = -1;
        for (size_t i = 0; i < s->n; i++)
                s->volume_clones[i] = -1;
        r = pthread_create(&thread, NULL, split_thread, s);
        if (r != 0)
                return err_sys(err, r, "start a thread");
        pthread_join(thread, NULL);
        if (s->error == 0)
                return 0;
        split_close(s);
        return err_sys(err, s->error, "give image volumes mounts of their own: %s", s->step);
}

static void add_mounts(struct split *s, struct arena *arena, struct spec *spec) {
        struct spec_mount *all = arena_array(arena, struct spec_mount, spec->n_mounts + s->n + 1);
        size_t n = 0;

        /* Before CRI's mounts: what those put inside a volume must lie above it. */
        for (size_t i = 0; i < s->n; i++)
                all[n++] = (struct spec_mount){ .destination = s->paths[i],
                                                .type = "bind",
                                                .source = "",
                                                .data = "",
                                                .source_fd = s->volume_clones[i] };
        for (size_t i = 0; i < spec->n_mounts; i++)
                all[n++] = spec->mounts[i];
        spec->mounts = all;
        spec->n_mounts = n;
}

static bool is_mounted(const struct spec *spec, const char *path) {
        for (size_t i = 0; i < spec->n_mounts; i++)
                if (str_eq(spec->mounts[i].destination, path))
                        return true;
        return false;
}

int volumes_prepare(const char *const *paths, struct arena *arena, struct spec *spec, struct err *err) {
        struct split *s = arena_new_of(arena, struct split);
        const char **wanted = arena_array(arena, const char *, MAX_VOLUMES);
        int r;

        for (; *paths; paths++) {
                const char *path = path_clean(arena, **paths == '/' ? *paths : arena_printf(arena, "/%s", *paths));
                int fd;

                if (str_eq(path, "/") || strlen(path) >= PATH_MAX || is_mounted(spec, path))
                        continue;
                if (s->n == MAX_VOLUMES)
                        return err_set(err, ERR_EXHAUSTED, "the image declares more than %d volumes", MAX_VOLUMES);
                fd = make_folder(spec, path, arena);
                if (fd < 0)
                        return err_sys(err, -fd, "make the image's volume %.256s", path);
                (void) fd_close(fd);
                wanted[s->n++] = path;
        }
        if (s->n == 0 || !spec->readonly_rootfs)
                return 0;
        s->paths = wanted;
        s->rootfs_fd = spec->rootfs_mount_fd;
        r = split_root(s, err);
        if (r < 0)
                return r;
        (void) fd_close(spec->rootfs_mount_fd);
        spec->rootfs_mount_fd = s->root_clone;
        add_mounts(s, arena, spec);
        return 0;
}
