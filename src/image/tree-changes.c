/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tree-changes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/str.h"
#include "image/layer-copy.h"
#include "image/tree-diff.h"

enum { DEPTH_MAX = 1000, LINKS_MAX = 1000000 };

struct changes {
        int out; /* the root */
        int cancel_fd;
        const struct id_maps *owners; /* of what is there now; NULL: as before */
        struct map *links;            /* "DEVICE:INODE" of a file with several names -> its path below out */
        char *buffers;
        char path[4096]; /* of the folder at work, "" or with a slash at its end; deeper ones have no links */
        size_t depth;
};

static int check_cancelled(const struct changes *c, struct err *err) {
        struct pollfd p = { .fd = c->cancel_fd, .events = POLLIN };

        return c->cancel_fd >= 0 && poll(&p, 1, 0) > 0 ? err_set(err, ERR_CANCELLED, "cancelled") : 0;
}

static int open_dir(int at, const char *name, DIR **ret, struct err *err) {
        int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        *ret = fd < 0 ? NULL : fdopendir(fd);
        if (*ret)
                return 0;
        (void) fd_close(fd);
        return err_sys(err, errno, "open folder %.200s", name);
}

static bool is_self(const char *name) {
        return str_eq(name, ".") || str_eq(name, "..");
}

/* Is it there, and the same? @from -1: nothing is. */
static int differs(struct changes *c, int from, int to, const char *name, struct err *err) {
        struct stat st;

        if (from < 0 || fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return 1;
        return tree_diff_entry(from, to, name, c->owners, c->buffers, err);
}

static int copy(struct changes *c, int to, int out, const char *name, const struct stat *st, struct err *err) {
        bool fits = st->st_nlink > 1 && strlen(c->path) + strlen(name) < sizeof(c->path);
        uint64_t bytes = 0;
        char key[64];
        const char *known;

        if (!fits)
                return layer_copy_file(to, name, out, name, &bytes, err);
        (void) snprintf(key, sizeof(key), "%llx:%llx", (unsigned long long) st->st_dev,
                        (unsigned long long) st->st_ino);
        known = map_get(c->links, key);
        if (known)
                return linkat(c->out, known, out, name, 0) < 0 ? err_sys(err, errno, "link %.200s", name) : 0;
        if (map_size(c->links) == LINKS_MAX)
                return err_set(err, ERR_EXHAUSTED, "more than %d files with several names", LINKS_MAX);
        (void) map_set(c->links, key, xprintf("%s%s", c->path, name));
        return layer_copy_file(to, name, out, name, &bytes, err);
}

static int compare(struct changes *c, int from, int to, int out, bool *ret_any, struct err *err);

static int folder(struct changes *c, int from, int to, int out, const char *name, bool *any, struct err *err) {
        _cleanup_(fd_closep) int from_child =
                from < 0 ? -1 : openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        _cleanup_(fd_closep) int to_child = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        _cleanup_(fd_closep) int out_child = -1;
        size_t len = strlen(c->path);
        bool inside = false;
        int other, r;

        if (c->depth == DEPTH_MAX)
                return err_set(err, ERR_EXHAUSTED, "folders are nested deeper than %d", DEPTH_MAX);
        if (to_child < 0 || mkdirat(out, name, 0700) < 0)
                return err_sys(err, errno, "copy folder %.200s", name);
        out_child = openat(out, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (out_child < 0)
                return err_sys(err, errno, "open the copy of folder %.200s", name);
        other = from_child < 0 ? 1 : differs(c, from, to, name, err);
        if (other < 0)
                return other;
        if (snprintf(c->path + len, sizeof(c->path) - len, "%s/", name) >= (int) (sizeof(c->path) - len))
                memset(c->path + len, '/', sizeof(c->path) - len - 1); /* too long for links */
        c->depth++;
        r = compare(c, from_child, to_child, out_child, &inside, err);
        c->depth--;
        c->path[len] = '\0';
        if (r < 0)
                return r;
        if (!inside && !other)
                return unlinkat(out, name, AT_REMOVEDIR) < 0 ? err_sys(err, errno, "remove %.200s", name) : 0;
        *any = true;
        return layer_copy_meta(to_child, out_child, err);
}

static int what_is_there(struct changes *c, int from, int to, int out, bool *any, struct err *err) {
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *e;
        int r = open_dir(to, ".", &d, err);

        while (r == 0 && (errno = 0, e = readdir(d))) {
                struct stat st;
                int other;

                if (is_self(e->d_name))
                        continue;
                r = check_cancelled(c, err);
                if (r == 0 && fstatat(to, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        r = err_sys(err, errno, "look at %.200s", e->d_name);
                if (r < 0)
                        return r;
                if (S_ISDIR(st.st_mode)) {
                        r = folder(c, from, to, out, e->d_name, any, err);
                        continue;
                }
                other = differs(c, from, to, e->d_name, err);
                if (other < 0)
                        return other;
                if (other) {
                        *any = true;
                        r = copy(c, to, out, e->d_name, &st, err);
                }
        }
        return r == 0 && errno ? err_sys(err, errno, "read a folder") : r;
}

static int what_is_gone(int from, int to, int out, bool *any, struct err *err) {
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *e;
        struct stat st;
        int r = open_dir(from, ".", &d, err);

        while (r == 0 && (errno = 0, e = readdir(d))) {
                if (is_self(e->d_name) || fstatat(to, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                        continue;
                *any = true;
                if (mknodat(out, e->d_name, S_IFCHR, 0) < 0)
                        r = err_sys(err, errno, "note that %.200s is gone", e->d_name);
        }
        return r == 0 && errno ? err_sys(err, errno, "read a folder") : r;
}

static int compare(struct changes *c, int from, int to, int out, bool *ret_any, struct err *err) {
        int r = what_is_there(c, from, to, out, ret_any, err);

        return r == 0 && from >= 0 ? what_is_gone(from, to, out, ret_any, err) : r;
}

int tree_changes(int from, int to, int out, const struct id_maps *owners, int cancel_fd, struct err *err) {
        struct changes c = { .out = out, .owners = owners, .cancel_fd = cancel_fd, .links = map_new() };
        const char *key;
        void *value;
        bool any = false;
        int r;

        c.buffers = xcalloc(1, TREE_DIFF_BUFFERS);
        r = compare(&c, from, to, out, &any, err);
        if (r == 0)
                r = layer_copy_meta(to, out, err);
        for (size_t it = 0; map_next(c.links, &it, &key, &value);)
                free(value);
        (void) map_free(c.links);
        free(c.buffers);
        return r;
}
