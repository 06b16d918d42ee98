/* SPDX-License-Identifier: Apache-2.0 */
/* tree-btrfs - trees that are btrfs' subvolumes, copies being its snapshots. Source: linux/btrfs.h, btrfs-ioctl(8). */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/snapshotter.h"

enum { MAGIC = 0x9123683E, HANDLE_WITHOUT_PARENT = 0x4d /* FILEID_BTRFS_WITHOUT_PARENT */ };

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

/* 0 or -errno. */
static int destroy(int dirfd, const char *name) {
        struct btrfs_ioctl_vol_args args = { 0 };
        struct err err;

        if (set_name(args.name, sizeof(args.name), name, &err) < 0)
                return -ENAMETOOLONG;
        return ioctl(dirfd, BTRFS_IOC_SNAP_DESTROY, &args) < 0 ? -errno : 0;
}

/* A subvolume in another one: who made it may have put it deeper than any path leads. */
struct inner {
        uint64_t id, folder; /* the inode of the folder that it is in */
        char name[BTRFS_VOL_NAME_MAX + 1];
};

/* The first item of that type: 1, or 0 when there is none, or -errno. */
static int find_item(int fd, uint64_t tree, uint64_t object, uint32_t type, struct btrfs_ioctl_search_args *ret) {
        *ret = (struct btrfs_ioctl_search_args){ .key = { .tree_id = tree,
                                                          .min_objectid = object,
                                                          .max_objectid = object,
                                                          .max_offset = UINT64_MAX,
                                                          .max_transid = UINT64_MAX,
                                                          .min_type = type,
                                                          .max_type = type,
                                                          .nr_items = 1 } };
        if (ioctl(fd, BTRFS_IOC_TREE_SEARCH, ret) < 0)
                return -errno;
        return ret->key.nr_items > 0;
}

/* The first in the subvolume @id: 1, or 0 when it has none. */
static int find_inner(int fd, uint64_t id, struct inner *ret, struct err *err) {
        struct btrfs_ioctl_search_args args;
        struct btrfs_ioctl_search_header head;
        struct btrfs_root_ref ref;
        size_t len;
        int r = find_item(fd, BTRFS_ROOT_TREE_OBJECTID, id, BTRFS_ROOT_REF_KEY, &args);

        if (r < 0)
                return err_sys(err, -r, "list subvolumes in a subvolume");
        if (r == 0)
                return 0;
        memcpy(&head, args.buf, sizeof(head));
        memcpy(&ref, args.buf + sizeof(head), sizeof(ref));
        len = le16toh(ref.name_len);
        if (len >= sizeof(ret->name) || head.len < sizeof(ref) + len)
                return err_set(err, ERR_DATA_LOSS, "a subvolume in a subvolume has no name");
        *ret = (struct inner){ .id = head.offset, .folder = le64toh(ref.dirid) };
        memcpy(ret->name, args.buf + sizeof(head) + sizeof(ref), len);
        return 1;
}

/* 0 or -errno. Handles must have it before Linux 6.2. */
static int generation_of(int fd, uint64_t subvolume, uint64_t inode, uint32_t *ret) {
        struct btrfs_ioctl_search_args args;
        struct btrfs_inode_item item;
        int r = find_item(fd, subvolume, inode, BTRFS_INODE_ITEM_KEY, &args);

        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        memcpy(&item, args.buf + sizeof(struct btrfs_ioctl_search_header), sizeof(item));
        *ret = (uint32_t) le64toh(item.generation);
        return 0;
}

/* A folder by its inode, as name_to_handle_at(2) would have it (fs/btrfs/export.h). Or -errno. */
static int open_folder(int fd, uint64_t subvolume, uint64_t inode) {
        const uint64_t ids[] = { inode, subvolume };
        uint32_t generation;
        _cleanup_(freep) struct file_handle *h = xcalloc(1, sizeof(*h) + sizeof(ids) + sizeof(generation));
        int r = generation_of(fd, subvolume, inode, &generation);

        if (r < 0)
                return r;
        h->handle_type = HANDLE_WITHOUT_PARENT;
        h->handle_bytes = sizeof(ids) + sizeof(generation);
        memcpy(h->f_handle, ids, sizeof(ids));
        memcpy(h->f_handle + sizeof(ids), &generation, sizeof(generation));
        r = open_by_handle_at(fd, h, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return r < 0 ? -errno : r;
}

static void make_writable(int fd, uint64_t subvolume) {
        _cleanup_(fd_closep) int root = open_folder(fd, subvolume, BTRFS_FIRST_FREE_OBJECTID);
        const uint64_t flags = 0;

        (void) !ioctl(root, BTRFS_IOC_SUBVOL_SETFLAGS, &flags);
}

/* 0 or -errno. The owner of the subvolume @outer may have made it read-only. */
static int destroy_inner(int fd, uint64_t outer, const struct inner *inner) {
        _cleanup_(fd_closep) int folder = open_folder(fd, outer, inner->folder);
        int r = folder < 0 ? folder : destroy(folder, inner->name);

        if (r != -EROFS)
                return r;
        make_writable(fd, outer);
        return destroy(folder, inner->name);
}

/* All in the subvolume behind @fd, innermost first. Any user of a container may make them. */
static int destroy_all_inner(int fd, struct err *err) {
        struct btrfs_ioctl_ino_lookup_args top = { .objectid = BTRFS_FIRST_FREE_OBJECTID };
        _cleanup_(freep) uint64_t *ids = NULL; /* from the outermost on, each in the one before it */
        size_t n = 0, cap = 0;
        int r = 0;

        if (ioctl(fd, BTRFS_IOC_INO_LOOKUP, &top) < 0)
                return err_sys(err, errno, "look up a subvolume");
        xgrow(ids, n, cap);
        ids[n++] = top.treeid;
        while (r >= 0 && n > 0) {
                struct inner inner;

                r = find_inner(fd, ids[n - 1], &inner, err);
                if (r == 0)
                        n--;
                if (r <= 0)
                        continue;
                r = destroy_inner(fd, ids[n - 1], &inner);
                if (r == -ENOTEMPTY) {
                        xgrow(ids, n, cap);
                        ids[n++] = inner.id;
                        r = 0;
                } else if (r < 0) {
                        r = err_sys(err, -r, "remove the inner subvolume %.200s", inner.name);
                }
        }
        return r;
}

static int btrfs_remove(struct snapshotter *s, const struct tree *what, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        int r = destroy(what->dirfd, what->name);

        if (r == 0 || r == -ENOENT)
                return 0;
        if (r != -ENOTEMPTY) /* no subvolume */
                return fs_remove_tree(what->dirfd, what->name, err);
        r = tree_folder_open(s, what, false, &fd, err);
        if (r == 0)
                r = destroy_all_inner(fd, err);
        if (r < 0)
                return r;
        r = destroy(what->dirfd, what->name);
        return r < 0 ? err_sys(err, -r, "remove subvolume %.200s", what->name) : 0;
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
