/* SPDX-License-Identifier: Apache-2.0 */
/* What unpacking left open. The layers below are looked at through one overlay mount of them all, so that whiteouts and
 * opaque folders among them count as they will for a container. */
#include "image/layer-settle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/layer-copy.h"
#include "image/snapshot-mount.h"
#include "image/unpack-dirs.h"

void settle_dir_done(struct settle_dir *d) {
        struct timespec times[2] = { d->mtime, d->mtime };

        if (d->fd < 0)
                return;
        (void) futimens(d->fd, times);
        d->fd = fd_close(d->fd);
}

static int take_dir(int fd, struct settle_dir *ret, struct err *err) {
        struct stat st;

        if (fstat(fd, &st) < 0) {
                int e = errno;
                fd_close(fd);
                return err_sys(err, e, "look at folder");
        }
        *ret = (struct settle_dir){ .fd = fd, .mtime = st.st_mtim };
        return 0;
}

static void parent_of(const char *path, char ret[UNPACK_PATH_SIZE]) {
        const char *base = unpack_path_base(path);
        size_t n = base == path ? 0 : (size_t) (base - path) - 1;

        memcpy(ret, path, n);
        ret[n] = '\0';
}

int settle_open_parent(struct settle *s, const char *path, struct settle_dir *ret, struct err *err) {
        char folder[UNPACK_PATH_SIZE];
        int fd;

        parent_of(path, folder);
        fd = unpack_path_open(s->root_fd, folder, O_RDONLY | O_DIRECTORY);
        *ret = SETTLE_DIR;
        if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
                return 0;
        return fd < 0 ? err_sys(err, -fd, "open folder of layer") : take_dir(fd, ret, err);
}

/* Make @path, the folder @name in @parent, like the one below. */
static int make_folder(struct settle *s, const char *path, int parent, const char *name, int *ret_fd, struct err *err) {
        _cleanup_(fd_closep) int lower = -1;
        int r = 0;

        if (mkdirat(parent, name, 0755) < 0)
                return err_sys(err, errno, "create folder %.200s", path);
        *ret_fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (*ret_fd < 0 || fchmod(*ret_fd, 0755) < 0)
                return err_sys(err, errno, "open folder %.200s", path);
        s->rest->bytes += 4096;
        s->rest->inodes++;
        if (s->lower_fd >= 0)
                lower = unpack_path_open(s->lower_fd, path, O_RDONLY | O_DIRECTORY);
        if (lower >= 0)
                r = layer_copy_meta(lower, *ret_fd, err);
        return r;
}

/* Make the folder @name where this layer removed what is below. */
static int make_anew(struct settle *s, int parent, const char *name, int *ret_fd, struct err *err) {
        if (unlinkat(parent, name, 0) < 0 || mkdirat(parent, name, 0755) < 0)
                return err_sys(err, errno, "create folder %.200s", name);
        s->rest->any_opaque = true;
        s->rest->bytes += 4096;
        *ret_fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (*ret_fd < 0 || fchmod(*ret_fd, 0755) < 0)
                return err_sys(err, errno, "open folder %.200s", name);
        return overlay_set_opaque(*ret_fd, err);
}

int settle_make_parent(struct settle *s, const char *path, struct settle_dir *ret, struct err *err) {
        char walked[UNPACK_PATH_SIZE];
        _cleanup_(settle_dir_done) struct settle_dir at = SETTLE_DIR;
        const char *slash;
        int r;

        r = settle_open_parent(s, "", &at, err); /* the root */
        for (const char *p = path; r == 0 && (slash = strchr(p, '/')); p = slash + 1) {
                struct settle_dir next = SETTLE_DIR;
                const char *name;
                int fd;

                memcpy(walked, path, (size_t) (slash - path));
                walked[slash - path] = '\0';
                name = unpack_path_base(walked);
                fd = openat(at.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0 && errno == ENOENT)
                        r = make_folder(s, walked, at.fd, name, &fd, err);
                else if (fd < 0 && overlay_is_whiteout(at.fd, name))
                        r = make_anew(s, at.fd, name, &fd, err);
                else if (fd < 0)
                        r = err_set(err, ERR_INVALID, "%.200s is no folder, though lower layers' symlinks lead there",
                                    walked);
                if (r == 0)
                        r = take_dir(fd, &next, err);
                else
                        fd_close(fd);
                settle_dir_done(&at);
                at = next;
        }
        if (r == 0) {
                *ret = at;
                at.fd = -1;
        }
        return r;
}

int settle_find(struct settle *s, const char *path, char ret[UNPACK_PATH_SIZE], struct err *err) {
        char folder[UNPACK_PATH_SIZE], resolved[UNPACK_PATH_SIZE];
        int fd, r;

        parent_of(path, folder);
        fd = unpack_path_open(s->root_fd, folder, O_PATH | O_DIRECTORY);
        if (fd >= 0 || s->lower_fd < 0) {
                fd_close(fd);
                return unpack_path_join(path, "", ret, err);
        }
        r = unpack_path_resolve(s->lower_fd, folder, true, resolved, err);
        return r < 0 ? r : unpack_path_join(resolved, unpack_path_base(path), ret, err);
}

int settle_open_lower_parent(struct settle *s, const char *path) {
        char folder[UNPACK_PATH_SIZE];

        parent_of(path, folder);
        return unpack_path_open(s->lower_fd, folder, O_RDONLY | O_DIRECTORY);
}

bool settle_is_hidden(struct settle *s, const char *path) {
        char folder[UNPACK_PATH_SIZE], v;

        if (s->rest->root_opaque || !s->rest->any_opaque)
                return s->rest->root_opaque;
        memcpy(folder, path, strlen(path) + 1);
        for (char *slash = strrchr(folder, '/'); slash; slash = strrchr(folder, '/')) {
                _cleanup_(fd_closep) int fd = -1;

                *slash = '\0';
                fd = unpack_path_open(s->root_fd, folder, O_RDONLY | O_DIRECTORY);
                if (fd >= 0 && fgetxattr(fd, "trusted.overlay.opaque", &v, 1) == 1 && v == 'y')
                        return true;
        }
        return false;
}

static int compare(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The folder @list[0] is about to move to @target. Of the folders below it, forget those for which this layer has an
 * entry under that name: they keep what the entry says. Sorted, so that they come next. */
static void forget_explicit(struct settle *s, const char **list, size_t n, const char *target) {
        size_t len = strlen(list[0]);
        char path[UNPACK_PATH_SIZE];
        struct err err;

        for (size_t i = 1; i < n && (!list[i] || strncmp(list[i], list[0], len) == 0); i++) {
                int fd;

                if (!list[i] || list[i][len] != '/' || unpack_path_join(target, list[i] + len + 1, path, &err) < 0 ||
                    map_get(s->rest->implicit, path))
                        continue;
                fd = unpack_path_open(s->root_fd, path, O_PATH | O_DIRECTORY);
                if (fd >= 0)
                        list[i] = NULL;
                fd_close(fd);
        }
}

/* One folder without an entry, @list[0]; @n are left. Lower: a folder gives its metadata; a symlink shows where the
 * contents belong. */
static int settle_one(struct settle *s, const char **list, size_t n, struct err *err) {
        char real[UNPACK_PATH_SIZE], target[UNPACK_PATH_SIZE];
        _cleanup_(fd_closep) int own = -1, parent = -1, lower = -1;
        struct stat st;
        int r;

        r = settle_find(s, list[0], real, err);
        if (r < 0)
                return r;
        own = unpack_path_open(s->root_fd, real, O_RDONLY | O_DIRECTORY);
        if (own < 0) /* replaced later in the archive */
                return own == -ENOENT || own == -ENOTDIR || own == -ELOOP ? 0 : err_sys(err, -own, "open %.200s", real);
        parent = settle_is_hidden(s, real) ? -1 : settle_open_lower_parent(s, real);
        if (parent < 0 || fstatat(parent, unpack_path_base(real), &st, AT_SYMLINK_NOFOLLOW) < 0)
                return 0;
        if (S_ISDIR(st.st_mode)) {
                lower = openat(parent, unpack_path_base(real), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                return lower < 0 ? err_sys(err, errno, "open %.200s of lower layers", real)
                                 : layer_copy_meta(lower, own, err);
        }
        if (!S_ISLNK(st.st_mode))
                return 0;
        r = unpack_path_resolve(s->lower_fd, real, true, target, err);
        if (r < 0 || str_eq(real, target))
                return r;
        forget_explicit(s, list, n, target);
        return settle_move(s, real, target, err);
}

int settle_implicit(struct settle *s, struct err *err) {
        size_t n = map_size(s->rest->implicit), i = 0;
        _cleanup_(freep) const char **list = xcalloc(n + 1, sizeof(*list));
        const char *key;
        int r = 0;

        for (size_t it = 0; i < n && map_next(s->rest->implicit, &it, &key, NULL);)
                list[i++] = key;
        qsort(list, i, sizeof(*list), compare); /* parents come first */
        for (size_t j = 0; r == 0 && j < i; j++)
                r = list[j] ? settle_one(s, list + j, i - j, err) : 0;
        return r;
}

static int open_lower(struct layers *l, const char *const *lower, size_t n, int *ret, struct err *err) {
        const struct overlay_args args = {
                .layers_fd = l->dirfd, .layers_path = l->path, .layers = lower, .n_layers = n
        };

        return n > 1 ? overlay_mount(&args, ret, err) : layer_open(l, lower[0], ret, err);
}

/* The root had no entry: it is as the layer below has it. */
static int settle_root(struct layers *l, int root_fd, const char *top, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        int r = layer_open(l, top, &fd, err);

        return r < 0 ? r : layer_copy_meta(fd, root_fd, err);
}

int layer_settle(struct layers *l, int root_fd, struct unpack_rest *rest, const char *const *lower, size_t n_lower,
                 struct err *err) {
        _cleanup_(fd_closep) int lower_fd = -1;
        struct settle s = { .root_fd = root_fd, .lower_fd = -1, .rest = rest };
        int r = 0;

        if (n_lower == 0 && rest->links.len)
                return err_set(err, ERR_INVALID, "hardlink to \"%.200s\", which does not exist",
                               rest->links.data + strlen(rest->links.data) + 1);
        if (n_lower && rest->root_is_implicit)
                r = settle_root(l, root_fd, lower[n_lower - 1], err);
        if (r == 0 && n_lower &&
            (map_size(rest->implicit) || rest->whiteouts.len || rest->links.len || rest->root_opaque)) {
                r = open_lower(l, lower, n_lower, &lower_fd, err);
                s.lower_fd = lower_fd;
        }
        if (r == 0 && s.lower_fd >= 0)
                r = settle_implicit(&s, err);
        if (r == 0 && rest->links.len)
                r = settle_links(&s, err);
        if (r == 0 && (rest->whiteouts.len || rest->root_opaque))
                r = settle_whiteouts(&s, err);
        return r < 0 ? err_wrap(err, "settle layer") : 0;
}
