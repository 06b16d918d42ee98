/* SPDX-License-Identifier: Apache-2.0 */
#include "image/unpack-path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/str.h"

enum { MAX_SYMLINKS = 40 /* as the kernel's own limit */, MAX_COMPONENT = 255 };

int unpack_path_clean(const char *name, char ret[UNPACK_PATH_SIZE], struct err *err) {
        size_t len = 0, depth = 0;

        while (*name) {
                size_t n = strcspn(name, "/");
                /* What a whiteout hides may have as long a name as any. */
                const size_t max = MAX_COMPONENT + (str_after(name, ".wh.") ? strlen(".wh.") : 0);

                if (n == 2 && name[0] == '.' && name[1] == '.')
                        return err_set(err, ERR_INVALID, "name with \"..\" in it");
                if (n > max)
                        return err_set(err, ERR_INVALID, "name of more than 255 bytes");
                if (n && !(n == 1 && name[0] == '.')) {
                        if (len + 1 + n >= UNPACK_PATH_SIZE || ++depth > UNPACK_MAX_DEPTH)
                                return err_set(err, ERR_INVALID, "path that is too long or too deep");
                        if (len)
                                ret[len++] = '/';
                        memcpy(ret + len, name, n);
                        len += n;
                }
                name += n + (name[n] == '/');
        }
        ret[len] = '\0';
        return 0;
}

/* Put @target before what is left to walk, @todo. */
static int prepend(char todo[UNPACK_PATH_SIZE], const char *target, size_t len, struct err *err) {
        size_t rest = strlen(todo);

        if (len + 1 + rest >= UNPACK_PATH_SIZE)
                return err_set(err, ERR_INVALID, "symlinks that lead to too long a path");
        memmove(todo + len + 1, todo, rest + 1);
        memcpy(todo, target, len);
        todo[len] = '/';
        return 0;
}

static size_t count_components(const char *path) {
        size_t n = *path != '\0';

        for (; *path; path++)
                n += *path == '/';
        return n;
}

int unpack_path_resolve(int root_fd, const char *path, bool follow_last, char ret[UNPACK_PATH_SIZE], struct err *err) {
        char todo[UNPACK_PATH_SIZE], target[UNPACK_PATH_SIZE];
        size_t at = 0, len = 0, links = 0;

        if (strlen(path) >= sizeof(todo))
                return err_set(err, ERR_INVALID, "path that is too long");
        memcpy(todo, path, strlen(path) + 1);
        ret[0] = '\0';
        for (;;) {
                size_t n, old = len;
                ssize_t t;

                at += strspn(todo + at, "/");
                n = strcspn(todo + at, "/");
                if (n == 0)
                        break;
                if (n == 1 && todo[at] == '.') {
                        at += n;
                        continue;
                }
                if (n == 2 && todo[at] == '.' && todo[at + 1] == '.') {
                        char *slash = memrchr(ret, '/', len);
                        len = slash ? (size_t) (slash - ret) : 0;
                        ret[len] = '\0';
                        at += n;
                        continue;
                }
                if (n > MAX_COMPONENT || len + 1 + n >= UNPACK_PATH_SIZE)
                        return err_set(err, ERR_INVALID, "symlinks that lead to too long a path");
                if (len)
                        ret[len++] = '/';
                memcpy(ret + len, todo + at, n);
                len += n;
                ret[len] = '\0';
                at += n;
                if (!follow_last && todo[at + strspn(todo + at, "/")] == '\0')
                        break;
                /* All above is no symlink, so this goes nowhere else. */
                t = readlinkat(root_fd, ret, target, sizeof(target) - 1);
                if (t < 0) /* no symlink, or missing: taken as it stands */
                        continue;
                if (++links > MAX_SYMLINKS)
                        return err_set(err, ERR_INVALID, "more than %d symlinks in a path", MAX_SYMLINKS);
                memmove(todo, todo + at, strlen(todo + at) + 1);
                at = 0;
                if (prepend(todo, target, (size_t) t, err) < 0)
                        return -ERR_INVALID;
                len = target[0] == '/' ? 0 : old;
                ret[len] = '\0';
        }
        if (count_components(ret) > UNPACK_MAX_DEPTH)
                return err_set(err, ERR_INVALID, "symlinks that lead too deep");
        return 0;
}

int unpack_path_open(int root_fd, const char *path, int flags) {
        struct open_how how = {
                .flags = (uint64_t) (flags | O_CLOEXEC | O_NOFOLLOW),
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
        };
        long fd = syscall(SYS_openat2, root_fd, *path ? path : ".", &how, sizeof(how));

        return fd < 0 ? -errno : (int) fd;
}

int unpack_path_join(const char *dir, const char *name, char ret[UNPACK_PATH_SIZE], struct err *err) {
        size_t n = strlen(dir), m = strlen(name);

        if (n + 1 + m >= UNPACK_PATH_SIZE)
                return err_set(err, ERR_INVALID, "path that is too long");
        memmove(ret, dir, n);
        if (n && m)
                ret[n++] = '/';
        memcpy(ret + n, name, m + 1);
        return 0;
}

const char *unpack_path_base(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}
