/* SPDX-License-Identifier: Apache-2.0 */
/* Hardlinks whose target is in a lower layer: the target is copied up, as overlay itself would when linking; and
 * whiteouts, of which those are kept that hide something. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/str.h"
#include "image/layer-copy.h"
#include "image/layer-settle.h"
#include "image/unpack-dirs.h"

static int link_to(int from_dir, const char *from_name, struct settle_dir *to, const char *name, struct err *err) {
        if (linkat(from_dir, from_name, to->fd, name, 0) == 0)
                return 0;
        return errno == EMLINK ? err_set(err, ERR_EXHAUSTED, "more hardlinks than this file system can hold")
                               : err_sys(err, errno, "create hardlink %.200s", name);
}

/* The lower layers' file @target, which this layer does not replace, to its place here; and the link to it. */
static int copy_up(struct settle *s, int lower_dir, const char *target, struct settle_dir *to, const char *name,
                   struct err *err) {
        _cleanup_(settle_dir_done) struct settle_dir at = SETTLE_DIR;
        const char *base = unpack_path_base(target);
        int r;

        r = settle_make_parent(s, target, &at, err);
        if (r == 0)
                r = layer_copy_file(lower_dir, base, at.fd, base, &s->rest->bytes, err);
        s->rest->inodes++;
        return r < 0 ? r : link_to(at.fd, base, to, name, err);
}

/* What stands at @path in this layer: its mode, 0 when nothing. */
static mode_t mode_in(int dir, const char *name, bool *ret_whiteout) {
        struct stat st;

        *ret_whiteout = false;
        if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return 0;
        *ret_whiteout = S_ISCHR(st.st_mode) && st.st_rdev == 0;
        return st.st_mode;
}

static int settle_link(struct settle *s, const char *path, const char *target, struct map *copies, struct err *err) {
        _cleanup_(settle_dir_done) struct settle_dir to = SETTLE_DIR, own = SETTLE_DIR;
        const char *name = unpack_path_base(path), *base, *copy, *rest;
        char real[UNPACK_PATH_SIZE], real_path[UNPACK_PATH_SIZE];
        _cleanup_(fd_closep) int lower = -1;
        bool whiteout;
        mode_t mode;
        int r;

        r = settle_find(s, path, real_path, err);
        if (r == 0)
                r = settle_open_parent(s, real_path, &to, err);
        if (r < 0 || to.fd < 0 || mode_in(to.fd, name, &whiteout)) /* a later entry took its place */
                return r;
        r = unpack_path_resolve(s->lower_fd, target, false, real, err);
        if (r == 0)
                r = settle_open_parent(s, real, &own, err);
        if (r < 0)
                return r;
        rest = str_after(real, real_path);
        if (rest && (*rest == '\0' || *rest == '/'))
                return err_set(err, ERR_INVALID, "hardlink \"%.200s\" to itself or to what it replaces", path);
        base = unpack_path_base(real);
        mode = mode_in(own.fd, base, &whiteout);
        if (mode && !whiteout && !S_ISDIR(mode))
                return link_to(own.fd, base, &to, name, err);
        lower = settle_open_lower_parent(s, real);
        if (lower >= 0 && mode == 0) {
                mode_t m = mode_in(lower, base, &whiteout);
                if (m && !whiteout && !S_ISDIR(m))
                        return copy_up(s, lower, real, &to, name, err);
        }
        if (lower < 0 || mode == 0 || S_ISDIR(mode_in(lower, base, &whiteout)) || !mode_in(lower, base, &whiteout))
                return err_set(err, ERR_INVALID, "hardlink \"%.200s\" to \"%.200s\", which is no file", path, target);
        /* This layer removes or replaces the target: the link alone is left of it. */
        copy = map_get(copies, real);
        if (copy) {
                _cleanup_(settle_dir_done) struct settle_dir at = SETTLE_DIR;

                r = settle_find(s, copy, real, err);
                if (r == 0)
                        r = settle_open_parent(s, real, &at, err);
                return r < 0 || at.fd < 0 ? r : link_to(at.fd, unpack_path_base(copy), &to, name, err);
        }
        (void) map_set(copies, real, (void *) (uintptr_t) path);
        s->rest->inodes++;
        return layer_copy_file(lower, base, to.fd, name, &s->rest->bytes, err);
}

int settle_links(struct settle *s, struct err *err) {
        _cleanup_(map_freep) struct map *copies = map_new();
        const char *at = s->rest->links.data, *end = at ? at + s->rest->links.len : NULL;
        int r = 0;

        while (r == 0 && at < end) {
                const char *path = at, *target = path + strlen(path) + 1;

                at = target + strlen(target) + 1;
                r = settle_link(s, path, target, copies, err);
        }
        return r;
}

static int settle_whiteout(struct settle *s, const char *path, struct err *err) {
        _cleanup_(settle_dir_done) struct settle_dir own = SETTLE_DIR;
        const char *name = unpack_path_base(path);
        char real[UNPACK_PATH_SIZE];
        struct stat st;
        int r;

        r = settle_find(s, path, real, err);
        if (r < 0)
                return r;
        path = real;
        if (s->lower_fd >= 0) {
                _cleanup_(fd_closep) int lower = -1;

                lower = settle_open_lower_parent(s, path);
                if (lower >= 0 && fstatat(lower, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !settle_is_hidden(s, path))
                        return 0;
        }
        r = settle_open_parent(s, path, &own, err);
        if (r < 0 || own.fd < 0 || !overlay_is_whiteout(own.fd, name))
                return r;
        if (unlinkat(own.fd, name, 0) < 0)
                return err_sys(err, errno, "remove needless whiteout");
        s->rest->inodes--;
        return 0;
}

/* Overlay merges roots always: hide what is below one by one. */
static int hide_root(struct settle *s, struct err *err) {
        _cleanup_(settle_dir_done) struct settle_dir root = SETTLE_DIR;
        _cleanup_(closedirp) DIR *d = NULL;
        struct dirent *e;
        int fd, r;

        r = settle_open_parent(s, "", &root, err);
        if (r < 0)
                return r;
        fd = openat(s->lower_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        d = fd < 0 ? NULL : fdopendir(fd);
        if (!d) {
                r = err_sys(err, errno, "list lower layers");
                fd_close(fd);
                return r;
        }
        while (r == 0 && (errno = 0, e = readdir(d))) {
                _cleanup_(fd_closep) int own = -1;

                if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                        continue;
                own = openat(root.fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (own >= 0)
                        r = overlay_set_opaque(own, err);
                else if (errno == ENOENT && mknodat(root.fd, e->d_name, S_IFCHR, 0) < 0)
                        r = err_sys(err, errno, "make whiteout");
        }
        return r;
}

int settle_whiteouts(struct settle *s, struct err *err) {
        const char *at = s->rest->whiteouts.data, *end = at ? at + s->rest->whiteouts.len : NULL;
        int r = 0;

        for (; r == 0 && at < end; at += strlen(at) + 1)
                r = settle_whiteout(s, at, err);
        return r == 0 && s->rest->root_opaque && s->lower_fd >= 0 ? hide_root(s, err) : r;
}
