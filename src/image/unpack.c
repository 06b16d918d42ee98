/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the archive -> folders, markers, and the hand-over to unpack-entry.c for the rest. */
#include "image/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/unpack-entry.h"

enum {
        MAX_IMPLICIT_BYTES = 2 << 20,
        MAX_LINKS_BYTES = 2 << 20,
        MAX_WHITEOUTS_BYTES = 512 << 10,
};

static int note_implicit(void *userdata, const char *path, struct err *err) {
        struct unpack *u = userdata;

        u->rest.implicit_bytes += strlen(path) + 64;
        if (u->rest.implicit_bytes > MAX_IMPLICIT_BYTES)
                return err_set(err, ERR_EXHAUSTED, "too many folders without an entry of their own");
        (void) map_set(u->rest.implicit, path, u);
        return unpack_count(u, 4096, err);
}

static void forget_implicit(struct unpack *u, const char *path) {
        if (map_size(u->rest.implicit) && map_take(u->rest.implicit, path))
                u->rest.implicit_bytes -= strlen(path) + 64;
}

int unpack_count(struct unpack *u, uint64_t bytes, struct err *err) {
        u->rest.bytes += bytes;
        if (++u->rest.inodes > u->max_entries)
                return err_set(err, ERR_EXHAUSTED, "more than %llu files", (unsigned long long) u->max_entries);
        return 0;
}

int unpack_make_room(struct unpack *u, const char *name, struct err *err) {
        int fd = dirs_top(&u->dirs)->fd;

        if (unlinkat(fd, name, 0) == 0 || errno == ENOENT)
                return 0;
        return fs_remove_tree(fd, name, err);
}

/* "..." of ".wh....", or NULL when @base is no marker. */
static const char *marker_of(const char *base) {
        return str_after(base, ".wh.");
}

/* A component of a path, not the last, that looks like a marker. */
static bool has_marker_folder(const char *path) {
        return str_after(path, ".wh.") || strstr(path, "/.wh.");
}

static int note_whiteout(struct unpack *u, const char *name, struct err *err) {
        char path[UNPACK_PATH_SIZE];
        int r = unpack_path_join(u->dirs.path, name, path, err);

        if (r == 0 &&
            u->rest.whiteouts.len + strlen(path) < MAX_WHITEOUTS_BYTES) /* past that they stay, needed or not */
                strbuf_append(&u->rest.whiteouts, path, strlen(path) + 1);
        return r;
}

/* Hide @name of the layers below. What this layer has under that name stays. */
static int make_whiteout(struct unpack *u, const char *name, struct err *err) {
        struct dir *top = dirs_top(&u->dirs);
        _cleanup_(fd_closep) int fd = -1;
        char path[UNPACK_PATH_SIZE];
        int r;

        if (str_empty(name) || str_eq(name, ".") || str_eq(name, ".."))
                return err_set(err, ERR_INVALID, "whiteout of nothing");
        top->touched = true;
        if (mknodat(top->fd, name, S_IFCHR, 0) == 0) {
                r = unpack_count(u, 0, err);
                return r < 0 ? r : note_whiteout(u, name, err);
        }
        if (errno != EEXIST)
                return err_sys(err, errno, "make whiteout");
        fd = openat(top->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) /* no folder: hides what is below anyway */
                return errno == ENOTDIR || errno == ELOOP ? 0 : err_sys(err, errno, "open folder");
        r = unpack_path_join(u->dirs.path, name, path, err);
        if (r < 0)
                return r;
        forget_implicit(u, path);
        u->rest.any_opaque = true;
        return overlay_set_opaque(fd, err);
}

static int take_marker(struct unpack *u, const char *name, struct err *err) {
        if (str_eq(name, ".wh..opq")) {
                if (u->dirs.n == 1)
                        u->rest.root_opaque = true;
                u->rest.any_opaque = true;
                return overlay_set_opaque(dirs_top(&u->dirs)->fd, err);
        }
        if (str_after(name, ".wh.")) /* other notes that AUFS kept for itself */
                return 0;
        return make_whiteout(u, name, err);
}

/* The folder @name was there before: in this layer only its owner, mode and so on change. */
static int open_or_replace_dir(struct unpack *u, const char *name, int *ret_fd, bool *ret_made, struct err *err) {
        int parent = dirs_top(&u->dirs)->fd, r;

        *ret_made = false;
        *ret_fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (*ret_fd >= 0)
                return 0;
        if (errno != ENOTDIR && errno != ELOOP)
                return err_sys(err, errno, "open folder");
        /* What this layer puts in place of another thing does not show what a lower layer has there. */
        *ret_made = true;
        if (unlinkat(parent, name, 0) < 0 || mkdirat(parent, name, 0755) < 0)
                return err_sys(err, errno, "replace by a folder");
        *ret_fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (*ret_fd < 0)
                return err_sys(err, errno, "open folder");
        u->rest.any_opaque = true;
        r = overlay_set_opaque(*ret_fd, err);
        if (r < 0)
                *ret_fd = fd_close(*ret_fd);
        return r;
}

static int take_dir(struct unpack *u, const char *path, const char *name, const struct tar_entry *e, struct err *err) {
        struct dir *top = dirs_top(&u->dirs);
        struct timespec mtime = { .tv_sec = e->mtime, .tv_nsec = e->mtime_ns };
        _cleanup_(fd_closep) int fd = -1;
        bool made = true;
        int r;

        top->touched = true;
        forget_implicit(u, path);
        if (mkdirat(top->fd, name, e->mode & 01777) < 0) {
                if (errno != EEXIST)
                        return err_sys(err, errno, "create folder");
                r = open_or_replace_dir(u, name, &fd, &made, err);
                if (r < 0)
                        return r;
        }
        if (fd >= 0 || unpack_needs_owner(u, e) || (e->mode & 06000) || e->n_xattrs || u->default_acls) {
                if (fd < 0)
                        fd = openat(top->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0)
                        return err_sys(err, errno, "open folder");
                if (fchown(fd, e->uid, e->gid) < 0 || fchmod(fd, e->mode) < 0)
                        return err_sys(err, errno, "set owner and mode of folder");
                r = unpack_set_xattrs(u, fd, NULL, e, err);
                if (r < 0)
                        return r;
        }
        r = dirs_fresh(&u->dirs, name, mtime, e->mode & S_ISGID, err);
        return r == 0 && made ? unpack_count(u, 4096, err) : r;
}

static int take_root(struct unpack *u, const struct tar_entry *e, struct err *err) {
        struct dir *root = &u->dirs.open[0];
        int r;

        if (e->type != TAR_DIR)
                return err_set(err, ERR_INVALID, "its root is no folder");
        r = dirs_enter(&u->dirs, "", err);
        if (r < 0)
                return r;
        if (fchown(root->fd, e->uid, e->gid) < 0 || fchmod(root->fd, e->mode) < 0)
                return err_sys(err, errno, "set owner and mode of the root");
        root->mtime = (struct timespec){ .tv_sec = e->mtime, .tv_nsec = e->mtime_ns };
        root->keep_mtime = root->touched = true;
        root->setgid = e->mode & S_ISGID;
        u->rest.root_is_implicit = false;
        return unpack_set_xattrs(u, root->fd, NULL, e, err);
}

static int take_link(struct unpack *u, const char *name, const struct tar_entry *e, struct err *err) {
        struct strbuf *links = &u->rest.links;
        char path[UNPACK_PATH_SIZE], target[UNPACK_PATH_SIZE];
        bool found = false;
        int r;

        r = unpack_path_clean(e->link, target, err);
        if (r == 0)
                r = unpack_path_join(u->dirs.path, name, path, err);
        if (r < 0)
                return r;
        if (!*target || str_eq(path, target))
                return err_set(err, ERR_INVALID, "hardlink to itself or to the root");
        r = unpack_link(u, name, path, target, &found, err);
        if (r < 0 || found)
                return r;
        r = unpack_make_room(u, name, err);
        if (r < 0)
                return r;
        if (links->len + strlen(path) + strlen(target) + 2 > MAX_LINKS_BYTES)
                return err_set(err, ERR_EXHAUSTED, "too many hardlinks into lower layers");
        strbuf_append(links, path, strlen(path) + 1);
        strbuf_append(links, target, strlen(target) + 1);
        return unpack_count(u, 0, err);
}

static int take_named(struct unpack *u, const char *path, const struct tar_entry *e, struct err *err) {
        char folder[UNPACK_PATH_SIZE];
        const char *base = unpack_path_base(path), *marker = marker_of(base);
        size_t n = base == path ? 0 : (size_t) (base - path) - 1;
        int r;

        memcpy(folder, path, n);
        folder[n] = '\0';
        if (has_marker_folder(folder)) {
                if (str_after(folder, ".wh..wh.") || strstr(folder, "/.wh..wh."))
                        return 0; /* AUFS' own again */
                return err_set(err, ERR_INVALID, "something below a whiteout");
        }
        r = dirs_enter(&u->dirs, folder, err);
        if (r < 0)
                return r;
        if (marker)
                return take_marker(u, marker, err);
        if (e->type == TAR_DIR) {
                r = unpack_path_join(u->dirs.path, base, folder, err);
                return r < 0 ? r : take_dir(u, folder, base, e, err);
        }
        if (e->type == TAR_LINK)
                return take_link(u, base, e, err);
        return unpack_make(u, base, e, err);
}

static int on_entry(void *userdata, const struct tar_entry *e, struct err *err) {
        struct unpack *u = userdata;
        char path[UNPACK_PATH_SIZE];
        int r;

        if (++u->entries > u->max_entries)
                return err_set(err, ERR_EXHAUSTED, "more than %llu entries", (unsigned long long) u->max_entries);
        r = unpack_path_clean(e->name, path, err);
        if (r == 0)
                r = *path ? take_named(u, path, e, err) : take_root(u, e, err);
        return r < 0 ? err_wrap(err, "unpack \"%.200s\"", e->name) : 0;
}

static int on_end(void *userdata, struct err *err) {
        struct unpack *u = userdata;
        int r = unpack_close_file(u, err);

        return r < 0 ? err_wrap(err, "unpack \"%.200s\"", u->file.e.name) : 0;
}

int unpack_new(int root_fd, uint64_t max_entries, struct unpack **ret, struct err *err) {
        static const struct tar_ops ops = { .entry = on_entry, .data = unpack_write_file, .end = on_end };
        _cleanup_(unpack_freep) struct unpack *u = xnew(struct unpack);
        int r;

        u->file.fd = -1;
        u->max_entries = max_entries;
        u->uid = geteuid();
        u->gid = getegid();
        u->rest.implicit = map_new();
        u->rest.root_is_implicit = true;
        u->rest.whiteouts = STRBUF(MAX_WHITEOUTS_BYTES);
        u->rest.links = STRBUF(MAX_LINKS_BYTES);
        u->rest.bytes = 4096;
        u->rest.inodes = 1;
        u->tar = tar_new(&ops, u);
        r = dirs_init(&u->dirs, root_fd, err);
        if (r < 0)
                return r;
        u->dirs.made = note_implicit;
        u->dirs.userdata = u;
        *ret = TAKE_PTR(u);
        return 0;
}

struct unpack *unpack_free(struct unpack *u) {
        if (!u)
                return NULL;
        fd_close(u->file.fd);
        dirs_done(&u->dirs);
        tar_free(u->tar);
        map_free(u->rest.implicit);
        strbuf_done(&u->rest.whiteouts);
        strbuf_done(&u->rest.links);
        free(u);
        return NULL;
}

int unpack_write(struct unpack *u, const void *data, size_t len, struct err *err) {
        return tar_write(u->tar, data, len, err);
}

int unpack_end(struct unpack *u, struct err *err) {
        int r = tar_end(u->tar, err);

        return r < 0 ? r : dirs_settle(&u->dirs, err);
}

struct unpack_rest *unpack_get_rest(struct unpack *u) {
        return &u->rest;
}
