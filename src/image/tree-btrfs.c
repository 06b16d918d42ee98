/* SPDX-License-Identifier: Apache-2.0 */
/* tree-btrfs - trees that are btrfs' subvolumes, copies being its snapshots. Source: linux/btrfs.h, btrfs-ioctl(8). */
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/snapshotter.h"
#include "image/unpack-path.h"

enum { MAGIC = 0x9123683E };

static int btrfs_start(struct snapshotter *s, int root_fd, struct err *err) {
        struct statfs st;

        (void) s;
        if (fstatfs(root_fd, &st) < 0)
                return err_sys(err, errno, "look at the file system of the images");
        return (unsigned) st.f_type == MAGIC ? 0 : err_set(err, ERR_PRECONDITION, "the images' folder is not on btrfs");
}

static int set_name(char *to, size_t size, const char *name, struct err *err) {
        if (strlen(name) >= size)
                return err_set(err, ERR_INVALID, "name of a subvolume is too long");
        memcpy(to, name, strlen(name) + 1);
        return 0;
}

static int btrfs_make(struct snapshotter *s, const struct tree *what, const struct tree *from, struct err *err) {
        struct btrfs_ioctl_vol_args_v2 args = { 0 };
        _cleanup_(fd_closep) int from_fd = -1;
        int r = set_name(args.name, sizeof(args.name), what->name, err);

        if (r == 0 && from)
                r = tree_folder_open(s, from, true, &from_fd, err);
        if (r < 0)
                return r;
        args.fd = from_fd;
        if (ioctl(what->dirfd, from ? BTRFS_IOC_SNAP_CREATE_V2 : BTRFS_IOC_SUBVOL_CREATE_V2, &args) < 0)
                return err_sys(err, errno, "make a subvolume for %s %s", what->kind, what->id);
        return 0;
}

/* --- removal ------------------------------------------------------------------------------------------------------ */

/* A subvolume, by the folder that holds it. */
struct place {
        int dirfd;
        char name[BTRFS_VOL_NAME_MAX + 1];
};

static void place_done(struct place *p) {
        p->dirfd = fd_close(p->dirfd);
}

static int destroy(const struct place *p) {
        struct btrfs_ioctl_vol_args args = { 0 };
        struct err err;

        if (set_name(args.name, sizeof(args.name), p->name, &err) < 0)
                return -ENAMETOOLONG;
        return ioctl(p->dirfd, BTRFS_IOC_SNAP_DESTROY, &args) < 0 ? -errno : 0;
}

/* Some subvolume in that at @p: 1, or 0 when it has none. Any user of a container may make them. */
static int find_inner(const struct place *p, struct place *ret, struct err *err) {
        _cleanup_(freep) struct btrfs_ioctl_get_subvol_rootref_args *refs = xcalloc(1, sizeof(*refs));
        _cleanup_(freep) struct btrfs_ioctl_ino_lookup_user_args *at = xcalloc(1, sizeof(*at));
        _cleanup_(fd_closep) int fd = openat(p->dirfd, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        char path[UNPACK_PATH_SIZE];
        int r;

        if (fd < 0)
                return err_sys(err, errno, "open subvolume %.200s", p->name);
        if (ioctl(fd, BTRFS_IOC_GET_SUBVOL_ROOTREF, refs) < 0 && errno != EOVERFLOW)
                return err_sys(err, errno, "list subvolumes in %.200s", p->name);
        if (refs->num_items == 0)
                return 0;
        at->treeid = refs->rootref[0].treeid;
        at->dirid = refs->rootref[0].dirid;
        if (ioctl(fd, BTRFS_IOC_INO_LOOKUP_USER, at) < 0)
                return err_sys(err, errno, "find a subvolume in %.200s", p->name);
        r = unpack_path_clean(at->path, path, err);
        if (r == 0)
                r = set_name(ret->name, sizeof(ret->name), at->name, err);
        if (r < 0)
                return r;
        ret->dirfd = unpack_path_open(fd, path, O_RDONLY | O_DIRECTORY);
        return ret->dirfd < 0 ? err_sys(err, -ret->dirfd, "open the folder of a subvolume in %.200s", p->name) : 1;
}

/* One of those that have none in them: where @p leads, or deeper. */
static int destroy_innermost(const struct tree *what, bool *ret_last, struct err *err) {
        _cleanup_(
                place_done) struct place at = { .dirfd = openat(what->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
        int r = set_name(at.name, sizeof(at.name), what->name, err);

        *ret_last = true;
        while (r == 0) {
                struct place inner = { .dirfd = -1 };

                r = destroy(&at);
                if (r != -ENOTEMPTY)
                        return r < 0 ? err_sys(err, -r, "remove subvolume %.200s", at.name) : 0;
                r = find_inner(&at, &inner, err);
                if (r == 0)
                        return err_set(err, ERR_INTERNAL, "subvolume %.200s is not empty, but nothing is in it",
                                       at.name);
                if (r < 0)
                        return r;
                place_done(&at);
                at = inner;
                *ret_last = false;
                r = 0;
        }
        return r;
}

static int btrfs_remove(struct snapshotter *s, const struct tree *what, struct err *err) {
        struct place at = { .dirfd = what->dirfd };
        bool last = false;
        int r = set_name(at.name, sizeof(at.name), what->name, err);

        (void) s;
        if (r < 0)
                return r;
        r = destroy(&at);
        if (r == 0 || r == -ENOENT)
                return 0;
        if (r != -ENOTEMPTY) /* no subvolume */
                return fs_remove_tree(what->dirfd, what->name, err);
        for (r = 0; r == 0 && !last;)
                r = destroy_innermost(what, &last, err);
        return r;
}

const struct snapshotter_ops snapshotter_btrfs = {
        .name = "btrfs",
        .whole = true,
        .start = btrfs_start,
        .make = btrfs_make,
        .open = tree_folder_open,
        .mount = tree_folder_mount,
        .remove = btrfs_remove,
        .writable_make = whole_writable_make,
        .writable_mount = whole_writable_mount,
        .writable_usage = whole_writable_usage,
        .check_idmap = whole_check_idmap,
};
