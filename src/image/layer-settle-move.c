/* SPDX-License-Identifier: Apache-2.0 */
/* Moving what went into a folder of this layer to where it belongs: the lower layers have a symlink of that folder's
 * name, so that "bin/sh" of an archive without an entry for "bin" is meant for "usr/bin/sh". */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/str.h"
#include "image/layer-copy.h"
#include "image/layer-settle.h"
#include "image/unpack-dirs.h"

/* The folders that are being emptied, innermost first. */
struct emptied {
        ino_t ino;
        const struct emptied *outer;
};

static int merge(int from_dir, const char *from_name, int to_dir, const char *to_name, const struct emptied *outer,
                 struct err *err);

static bool is_opaque(int fd) {
        char v = 0;

        return fgetxattr(fd, "trusted.overlay.opaque", &v, 1) == 1 && v == 'y';
}

/* RENAME_NOREPLACE, which ZFS has only from 2.2 on: nobody else is in these folders. 0 or -errno. */
static int move_if_free(int from, const char *from_name, int to, const char *to_name) {
        struct stat st;

        if (fstatat(to, to_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                return -EEXIST;
        return errno != ENOENT || renameat(from, from_name, to, to_name) < 0 ? -errno : 0;
}

static int merge_child(int from, int to, const char *name, const struct emptied *emptied, struct err *err) {
        struct stat a, b;
        int r = move_if_free(from, name, to, name);

        if (r != -EEXIST)
                return r < 0 ? err_sys(err, -r, "move %.200s", name) : 0;
        if (fstatat(from, name, &a, AT_SYMLINK_NOFOLLOW) < 0 || fstatat(to, name, &b, AT_SYMLINK_NOFOLLOW) < 0)
                return err_sys(err, errno, "look at %.200s", name);
        if (S_ISDIR(a.st_mode) != S_ISDIR(b.st_mode))
                return err_set(err, ERR_INVALID,
                               "%.200s is a folder and none, by two names that lower layers' symlinks make one", name);
        if (!S_ISDIR(a.st_mode))
                return renameat(from, name, to, name) < 0 ? err_sys(err, errno, "move %.200s", name) : 0;
        for (const struct emptied *e = emptied; e; e = e->outer)
                if (e->ino == b.st_ino)
                        return err_set(err, ERR_INVALID, "lower layers' symlinks lead round in circles at %.200s",
                                       name);
        return merge(from, name, to, name, emptied, err);
}

static int merge_children(DIR *d, int to, const struct emptied *emptied, struct err *err) {
        struct dirent *e;
        int r = 0;

        while (r == 0 && (errno = 0, e = readdir(d)))
                if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
                        r = merge_child(dirfd(d), to, e->d_name, emptied, err);
        return r == 0 && errno ? err_sys(err, errno, "list folder") : r;
}

static int open_both(int from_dir, const char *from_name, int to_dir, const char *to_name, DIR **ret_from,
                     ino_t *ret_ino, struct settle_dir *ret_to, struct err *err) {
        int fd = openat(from_dir, from_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r;
        struct stat st;

        *ret_from = fd < 0 ? NULL : fdopendir(fd);
        if (!*ret_from) {
                r = err_sys(err, errno, "open folder %.200s", from_name);
                fd_close(fd);
                return r;
        }
        if (fstat(fd, &st) < 0)
                return err_sys(err, errno, "look at folder %.200s", from_name);
        *ret_ino = st.st_ino;
        ret_to->fd = openat(to_dir, to_name ?: ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (ret_to->fd < 0 || fstat(ret_to->fd, &st) < 0)
                return err_sys(err, errno, "open folder %.200s", to_name ?: "of layer");
        ret_to->mtime = st.st_mtim;
        return 0;
}

/* The folder @from_name's contents into the folder @to_name (NULL: into @to_dir itself); then it goes. Depth is bounded
 * by UNPACK_MAX_DEPTH. */
static int merge(int from_dir, const char *from_name, int to_dir, const char *to_name, const struct emptied *outer,
                 struct err *err) {
        _cleanup_(settle_dir_done) struct settle_dir to = SETTLE_DIR;
        struct emptied emptied = { .outer = outer };
        _cleanup_(closedirp) DIR *d = NULL;
        int r;

        r = open_both(from_dir, from_name, to_dir, to_name, &d, &emptied.ino, &to, err);
        if (r == 0 && is_opaque(dirfd(d)))
                r = overlay_set_opaque(to.fd, err);
        if (r == 0)
                r = merge_children(d, to.fd, &emptied, err);
        if (r == 0 && unlinkat(from_dir, from_name, AT_REMOVEDIR) < 0)
                r = err_sys(err, errno, "remove folder %.200s", from_name);
        return r;
}

/* What stands at the target is the metadata the lower layers have there, if they have. */
static int like_lower(struct settle *s, const char *path, int parent, const char *name, struct err *err) {
        _cleanup_(fd_closep) int lower = unpack_path_open(s->lower_fd, path, O_RDONLY | O_DIRECTORY), own = -1;

        if (lower < 0)
                return 0;
        own = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return own < 0 ? err_sys(err, errno, "open folder %.200s", name) : layer_copy_meta(lower, own, err);
}

static int move_to(struct settle *s, struct settle_dir *from, const char *from_name, const char *path,
                   struct err *err) {
        _cleanup_(settle_dir_done) struct settle_dir to = SETTLE_DIR;
        const char *name = unpack_path_base(path);
        struct stat st;
        int r;

        if (!*path)
                return merge(from->fd, from_name, s->root_fd, NULL, NULL, err);
        r = settle_make_parent(s, path, &to, err);
        if (r < 0)
                return r;
        if (overlay_is_whiteout(to.fd, name)) { /* gone below, and new here */
                int fd;

                if (unlinkat(to.fd, name, 0) < 0 || renameat(from->fd, from_name, to.fd, name) < 0)
                        return err_sys(err, errno, "move to %.200s", path);
                fd = openat(to.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                r = fd < 0 ? err_sys(err, errno, "open %.200s", path) : overlay_set_opaque(fd, err);
                fd_close(fd);
                s->rest->any_opaque = true;
                return r;
        }
        r = move_if_free(from->fd, from_name, to.fd, name);
        if (r == 0)
                return like_lower(s, path, to.fd, name, err);
        if (r != -EEXIST)
                return err_sys(err, -r, "move to %.200s", path);
        if (fstatat(to.fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return err_sys(err, errno, "look at %.200s", path);
        if (!S_ISDIR(st.st_mode))
                return err_set(err, ERR_INVALID, "%.200s is no folder, though lower layers' symlinks lead there", path);
        return merge(from->fd, from_name, to.fd, name, NULL, err);
}

int settle_move(struct settle *s, const char *from, const char *to, struct err *err) {
        _cleanup_(settle_dir_done) struct settle_dir parent = SETTLE_DIR;
        char own[UNPACK_PATH_SIZE];
        size_t n = strlen(from);
        int r;

        r = unpack_path_resolve(s->root_fd, to, true, own, err); /* this layer may have symlinks there, too */
        if (r < 0)
                return r;
        if (str_eq(own, from))
                return 0;
        if (strncmp(own, from, n) == 0 && own[n] == '/')
                return err_set(err, ERR_INVALID, "symlinks lead from %.200s into itself", from);
        r = settle_open_parent(s, from, &parent, err);
        if (r < 0 || parent.fd < 0)
                return r;
        return move_to(s, &parent, unpack_path_base(from), own, err);
}
