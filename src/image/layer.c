/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of layers: names, look-up, removal. The sink is in layer-sink.c. */
#include "image/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/layer-internal.h"
#include "image/ref.h"

int layer_chain_name(const char *chain_id, char ret[LAYER_CHAIN_NAME_SIZE], struct err *err) {
        if (!digest_is_valid(chain_id))
                return err_set(err, ERR_INVALID, "\"%.80s\" is no chain id", chain_id);
        (void) snprintf(ret, LAYER_CHAIN_NAME_SIZE, "sha256-%s", str_after(chain_id, "sha256:"));
        return 0;
}

uint64_t layers_take_number(struct layers *l) {
        uint64_t n;

        (void) pthread_mutex_lock(&l->lock);
        n = l->next++;
        (void) pthread_mutex_unlock(&l->lock);
        return n;
}

static int open_dir(int parent, const char *name, int *ret, struct err *err) {
        if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
                return err_sys(err, errno, "create folder %s", name);
        *ret = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (*ret < 0)
                return err_sys(err, errno, "open folder %s", name);
        /* An ACL that the admin's folder hands down would change the modes of what is unpacked. */
        (void) fremovexattr(*ret, "system.posix_acl_default");
        return 0;
}

static DIR *list_dir(int fd, struct err *err) {
        int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = copy < 0 ? NULL : fdopendir(copy);

        if (!d) {
                (void) err_sys(err, errno, "list folder of layers");
                fd_close(copy);
        }
        return d;
}

/* With errno as readdir(3) left it. */
static int list_end(struct err *err) {
        return errno ? err_sys(err, errno, "list folder of layers") : 0;
}

/* Raise next above every number in @fd. */
static int skip_numbers(struct layers *l, int fd, struct err *err) {
        _cleanup_(closedirp) DIR *d = list_dir(fd, err);
        struct dirent *e;
        uint64_t n;

        if (!d)
                return -(int) err->code;
        while ((errno = 0, e = readdir(d)))
                if (str_to_u64(e->d_name, &n) && n >= l->next && n < UINT64_MAX)
                        l->next = n + 1;
        return list_end(err);
}

/* The number that the link @name in by-chain/ leads to, as a string. 0 or -errno. */
static int read_link(struct layers *l, const char *name, char ret[LAYER_NAME_SIZE]) {
        char target[LAYER_NAME_SIZE + 4];
        ssize_t n = readlinkat(l->chain_fd, name, target, sizeof(target) - 1);
        const char *number;
        uint64_t v;

        if (n < 0)
                return -errno;
        target[n] = '\0';
        number = str_after(target, "../");
        if (!number || !str_to_u64(number, &v) || strlen(number) >= LAYER_NAME_SIZE)
                return -EINVAL;
        memcpy(ret, number, strlen(number) + 1);
        return 0;
}

/* A crash may leave names without a layer, and layers without a name. */
static int match_names(struct layers *l, struct err *err) {
        _cleanup_(map_freep) struct map *named = map_new();
        _cleanup_(closedirp) DIR *chains = list_dir(l->chain_fd, err);
        _cleanup_(closedirp) DIR *d = chains ? list_dir(l->dirfd, err) : NULL;
        char number[LAYER_NAME_SIZE];
        struct dirent *e;
        struct stat st;
        uint64_t n;

        if (!d)
                return -(int) err->code;
        while ((errno = 0, e = readdir(chains))) {
                if (e->d_name[0] == '.')
                        continue;
                if (read_link(l, e->d_name, number) == 0 && !map_get(named, number) &&
                    fstatat(l->dirfd, number, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
                        (void) map_set(named, number, l);
                else if (unlinkat(l->chain_fd, e->d_name, 0) < 0)
                        return err_sys(err, errno, "remove stale name %s", e->d_name);
        }
        if (list_end(err) < 0) /* a layer whose name is not seen would go */
                return -(int) err->code;
        while ((errno = 0, e = readdir(d)))
                if (str_to_u64(e->d_name, &n) && !map_get(named, e->d_name) &&
                    renameat(l->dirfd, e->d_name, l->tmp_fd, e->d_name) < 0)
                        return err_sys(err, errno, "put aside layer %s", e->d_name);
        return list_end(err);
}

static int open_all(struct layers *l, const struct snapshotter_conf *conf, struct err *err) {
        int r;

        r = open_dir(AT_FDCWD, l->path, &l->dirfd, err);
        if (r == 0)
                r = snapshotter_new(conf, l->dirfd, &l->how, err);
        if (r == 0)
                r = open_dir(l->dirfd, "by-chain", &l->chain_fd, err);
        if (r == 0)
                r = open_dir(l->dirfd, "tmp", &l->tmp_fd, err);
        if (r == 0)
                r = open_dir(l->dirfd, "unsynced", &l->unsynced_fd, err);
        if (r == 0)
                r = skip_numbers(l, l->dirfd, err);
        if (r == 0)
                r = skip_numbers(l, l->tmp_fd, err);
        if (r == 0)
                r = layer_sync_init(l, err);
        return r == 0 ? match_names(l, err) : r;
}

int layers_new(const char *root, const struct snapshotter_conf *conf, struct layers **ret, struct err *err) {
        _cleanup_(layers_freep) struct layers *l = xnew(struct layers);
        size_t len = strlen(root) + sizeof("/layers");
        int r;

        (void) pthread_mutex_init(&l->lock, NULL);
        (void) pthread_cond_init(&l->sync.changed, NULL);
        l->dirfd = l->chain_fd = l->tmp_fd = l->unsynced_fd = -1;
        l->next = 1;
        l->path = xcalloc(1, len);
        (void) snprintf(l->path, len, "%s/layers", root);
        r = open_all(l, conf, err);
        if (r < 0)
                return err_wrap(err, "%s", l->path);
        layer_sync_start(l);
        *ret = TAKE_PTR(l);
        return 0;
}

struct layers *layers_free(struct layers *l) {
        if (!l)
                return NULL;
        layer_sync_done(l);
        fd_close(l->unsynced_fd);
        fd_close(l->tmp_fd);
        fd_close(l->chain_fd);
        fd_close(l->dirfd);
        (void) pthread_cond_destroy(&l->sync.changed);
        (void) pthread_mutex_destroy(&l->lock);
        (void) snapshotter_free(l->how);
        free(l->path);
        free(l);
        return NULL;
}

bool layer_exists(struct layers *l, const char *chain_id) {
        char name[LAYER_NAME_SIZE];
        struct err err;

        return layer_short_name(l, chain_id, name, &err) == 0;
}

int layer_short_name(struct layers *l, const char *chain_id, char out[32], struct err *err) {
        char name[LAYER_CHAIN_NAME_SIZE];
        int r = layer_chain_name(chain_id, name, err);

        if (r < 0)
                return r;
        r = read_link(l, name, out);
        if (r == -ENOENT)
                return err_set(err, ERR_NOT_FOUND, "layer %s is not on this host", chain_id);
        return r < 0 ? err_sys(err, -r, "look up layer %s", chain_id) : 0;
}

/* What has no name any more. */
static int drop(struct layers *l, const char *number, struct err *err) {
        layer_sync_forget(l, number);
        if (renameat(l->dirfd, number, l->tmp_fd, number) < 0)
                return errno == ENOENT ? 0 : err_sys(err, errno, "put aside layer %s", number);
        return layer_drop_tmp(l, number, err);
}

int layer_replace(struct layers *l, const char *chain_id, const char *from, struct err *err) {
        char name[LAYER_CHAIN_NAME_SIZE], from_name[LAYER_CHAIN_NAME_SIZE], number[LAYER_NAME_SIZE];
        bool is_there = layer_short_name(l, chain_id, number, err) == 0;
        int r = layer_chain_name(chain_id, name, err);

        if (r == 0)
                r = layer_chain_name(from, from_name, err);
        if (r == 0 && renameat(l->chain_fd, from_name, l->chain_fd, name) < 0)
                r = err_sys(err, errno, "rename");
        if (r == 0 && is_there)
                r = drop(l, number, err);
        return r < 0 ? err_wrap(err, "replace layer %s", chain_id) : 0;
}

int layer_remove(struct layers *l, const char *chain_id, struct err *err) {
        char name[LAYER_CHAIN_NAME_SIZE], number[LAYER_NAME_SIZE];
        int r;

        r = layer_short_name(l, chain_id, number, err);
        if (r < 0)
                return r == -ERR_NOT_FOUND ? 0 : r;
        r = layer_chain_name(chain_id, name, err);
        if (r < 0)
                return r;
        /* The name goes first: what follows may take long, and may be cut short by a crash. */
        if (unlinkat(l->chain_fd, name, 0) < 0 && errno != ENOENT)
                return err_sys(err, errno, "remove layer %s", chain_id);
        r = drop(l, number, err);
        return r < 0 ? err_wrap(err, "remove layer %s", chain_id) : 0;
}

int layer_list(struct layers *l, struct arena *arena, const char ***ret, struct err *err) {
        _cleanup_(closedirp) DIR *d = list_dir(l->chain_fd, err);
        _cleanup_(freep) const char **list = NULL;
        size_t n = 0, cap = 0;
        struct dirent *e;

        if (!d)
                return -(int) err->code;
        while ((errno = 0, e = readdir(d))) {
                const char *hex = str_after(e->d_name, "sha256-");

                if (!hex)
                        continue;
                xgrow(list, n, cap);
                list[n++] = arena_printf(arena, "sha256:%s", hex);
        }
        if (list_end(err) < 0)
                return -(int) err->code;
        xgrow(list, n, cap);
        list[n++] = NULL;
        *ret = arena_memdup(arena, list, n * sizeof(*list));
        return 0;
}

int layers_dirfd(const struct layers *l) {
        return l->dirfd;
}

struct snapshotter *layers_snapshotter(const struct layers *l) {
        return l->how;
}

static struct tree tree_in(int dirfd, const char *name) {
        return (struct tree){ .dirfd = dirfd, .name = name, .kind = "layer", .id = name };
}

struct tree layer_tree(const struct layers *l, const char *name) {
        return tree_in(l->dirfd, name);
}

struct tree layer_tmp_tree(const struct layers *l, const char *name) {
        return tree_in(l->tmp_fd, name);
}

int layer_open(struct layers *l, const char *name, int *ret_fd, struct err *err) {
        const struct tree tree = layer_tree(l, name);

        return l->how->ops->open(l->how, &tree, true, ret_fd, err);
}

int layer_drop_tmp(struct layers *l, const char *name, struct err *err) {
        const struct tree tree = layer_tmp_tree(l, name);

        return l->how->ops->remove(l->how, &tree, err);
}
