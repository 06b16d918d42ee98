/* SPDX-License-Identifier: Apache-2.0 */
/* path - see path.h. */
#include "init/path.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "init/sys.h"

enum {
        OPENAT2_TRIES = 1000,
        MAX_LINKS = 40,   /* as the kernel's own limit */
        MAX_STEPS = 4096, /* somebody removes what we make, all the time */
        PROC_ROOT_INO = 1,
};

static int close_and(int fd, int result) {
        if (fd >= 0)
                (void) close(fd);
        return result;
}

int path_open(int root_fd, const char *path, int flags) {
        int fd = -1;

        /* With ".." on the way, each rename or mount on the host meanwhile makes the kernel give up. */
        for (int tries = 0; tries < OPENAT2_TRIES; tries++) {
                fd = sys_openat2(root_fd, path, (uint64_t) flags, 0, SYS_RESOLVE_IN_ROOT | SYS_RESOLVE_NO_MAGICLINKS);
                if (fd >= 0 || errno != EAGAIN)
                        break;
        }
        return fd < 0 ? -errno : fd;
}

/* A path being made: the text changes as dangling symlinks are replaced by what they point to. */
struct walk {
        int root_fd;
        char path[PATH_MAX];
        size_t start, end; /* of the first component that is missing */
        int parent_fd;     /* of the folder it belongs in */
        int n_links;
};

/* Most often that is the last one. False: a walk from the root on tells. */
static bool find_last(struct walk *w) {
        char saved;

        w->end = strlen(w->path);
        while (w->end > 0 && w->path[w->end - 1] == '/')
                w->end--;
        for (w->start = w->end; w->start > 0 && w->path[w->start - 1] != '/';)
                w->start--;
        if (w->start == 0)
                return false;
        saved = w->path[w->start];
        w->path[w->start] = '\0';
        w->parent_fd = path_open(w->root_fd, w->path, O_PATH | O_DIRECTORY);
        w->path[w->start] = saved;
        return w->parent_fd >= 0;
}

/* Find the first missing component. 1: there is one; 0: nothing is missing (any more). */
static int find_missing(struct walk *w) {
        size_t at = 0;
        int fd;

        if (find_last(w))
                return 1;
        w->parent_fd = openat(w->root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (w->parent_fd < 0)
                return -errno;
        for (;;) {
                char saved;

                while (w->path[at] == '/')
                        at++;
                if (!w->path[at])
                        return close_and(w->parent_fd, 0);
                w->start = at;
                while (w->path[at] && w->path[at] != '/')
                        at++;
                w->end = at;
                saved = w->path[at];
                w->path[at] = '\0';
                fd = path_open(w->root_fd, w->path, O_PATH);
                w->path[at] = saved;
                if (fd == -ENOENT)
                        return 1;
                (void) close(w->parent_fd);
                if (fd < 0)
                        return fd;
                w->parent_fd = fd;
        }
}

/* The missing component turned out to be there: a symlink to nowhere. Put its target in its place. */
static int expand_link(struct walk *w, const char *name) {
        char link[PATH_MAX], tail[PATH_MAX];
        ssize_t n = readlinkat(w->parent_fd, name, link, sizeof(link) - 1);
        size_t head, tail_len = strlen(w->path + w->end);

        if (n < 0)
                return errno == EINVAL || errno == ENOENT ? 0 : -errno; /* replaced meanwhile: look again */
        if (++w->n_links > MAX_LINKS)
                return -ELOOP;
        head = link[0] == '/' ? 0 : w->start;
        if (head + (size_t) n + tail_len >= sizeof(w->path))
                return -ENAMETOOLONG;
        memcpy(tail, w->path + w->end, tail_len + 1);
        memcpy(w->path + head, link, (size_t) n);
        memcpy(w->path + head + (size_t) n, tail, tail_len + 1);
        return 0;
}

/* Make the missing component. @ret_made: it was the last one and we made it. */
static int make_missing(struct walk *w, enum path_kind kind, mode_t mode, bool *ret_made) {
        char name[NAME_MAX + 1];
        size_t len = w->end - w->start, rest = w->end;
        bool last;
        int fd;

        if (len > NAME_MAX)
                return -ENAMETOOLONG;
        memcpy(name, w->path + w->start, len);
        name[len] = '\0';
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                return -ENOENT;
        while (w->path[rest] == '/')
                rest++;
        last = !w->path[rest];
        if (last && kind == PATH_FILE) {
                fd = openat(w->parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
                if (fd >= 0)
                        (void) close(fd);
        } else
                fd = mkdirat(w->parent_fd, name, last ? mode : 0755);
        if (fd < 0)
                return errno == EEXIST ? expand_link(w, name) : -errno;
        *ret_made = last;
        return 0;
}

int path_ensure(int root_fd, const char *path, enum path_kind kind, mode_t mode, bool *ret_made) {
        struct walk w = { .root_fd = root_fd };
        bool made = false;
        int fd;

        if (strlen(path) >= sizeof(w.path))
                return -ENAMETOOLONG;
        memcpy(w.path, path, strlen(path) + 1);
        for (int i = 0; i < MAX_STEPS; i++) {
                int r;

                fd = path_open(root_fd, w.path, O_PATH);
                if (fd >= 0 && ret_made)
                        *ret_made = made;
                if (fd != -ENOENT)
                        return fd;
                r = find_missing(&w);
                if (r > 0)
                        r = close_and(w.parent_fd, make_missing(&w, kind, mode, &made));
                if (r < 0)
                        return r;
        }
        return -ELOOP;
}

int path_ensure_parent(int root_fd, const char *path, const char **ret_name) {
        const char *slash = strrchr(path, '/');
        char parent[PATH_MAX];
        size_t len;

        if (!slash || !slash[1] || strcmp(slash + 1, ".") == 0 || strcmp(slash + 1, "..") == 0)
                return -EINVAL;
        len = (size_t) (slash - path) + 1;
        if (len >= sizeof(parent))
                return -ENAMETOOLONG;
        memcpy(parent, path, len);
        parent[len] = '\0';
        *ret_name = slash + 1;
        return path_ensure(root_fd, parent, PATH_DIR, 0755, NULL);
}

int path_open_proc(int root_fd) {
        int fd = sys_openat2(root_fd, "proc", O_PATH | O_DIRECTORY, 0, SYS_RESOLVE_BENEATH | SYS_RESOLVE_NO_SYMLINKS);
        struct statfs fs;
        struct stat st;

        if (fd < 0)
                return -errno;
        if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
                return close_and(fd, -errno);
        if ((long) fs.f_type != SYS_PROC_MAGIC || st.st_ino != PROC_ROOT_INO)
                return close_and(fd, -EXDEV);
        return fd;
}

int path_open_in_proc(int proc_fd, const char *path, int flags) {
        const uint64_t resolve = SYS_RESOLVE_BENEATH | SYS_RESOLVE_NO_XDEV | SYS_RESOLVE_NO_MAGICLINKS;
        int fd = sys_openat2(proc_fd, path, (uint64_t) flags, 0, resolve);
        struct statfs fs;

        if (fd < 0)
                return proc_fd < 0 ? -ENOENT : -errno;
        if (fstatfs(fd, &fs) < 0)
                return close_and(fd, -errno);
        return (long) fs.f_type == SYS_PROC_MAGIC ? fd : close_and(fd, -EXDEV);
}

int path_write_in_proc(int proc_fd, const char *path, const char *value) {
        int fd = path_open_in_proc(proc_fd, path, O_WRONLY);
        ssize_t n;

        if (fd < 0)
                return fd;
        do
                n = write(fd, value, strlen(value));
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return close_and(fd, -errno);
        return close_and(fd, (size_t) n == strlen(value) ? 0 : -EIO);
}
