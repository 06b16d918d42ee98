/* SPDX-License-Identifier: Apache-2.0 */
/* fs-usage - what a tree takes on disk. Its depth is in the hand of whoever filled it, so the walk needs neither stack
 * nor descriptors for it: only the deepest folders are open, one further up is opened again when the walk comes back.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"

enum { OPEN_MAX_LEVELS = 32, LEVELS_MAX = 1 << 20, ENTRIES_A_POLL = 64 };

struct level {
        DIR *dir; /* NULL: closed, to be opened from below */
        long at;  /* where to go on then */
        dev_t dev;
        ino_t ino;
};

struct walk {
        struct level *levels;
        size_t n, cap;
        uint64_t bytes, inodes;
};

static void count(struct walk *w, const struct stat *st) {
        w->bytes += (uint64_t) st->st_blocks * 512;
        w->inodes++;
}

/* Takes @fd. 0 or -errno. */
static int enter(struct walk *w, int fd) {
        struct level *far = w->n >= OPEN_MAX_LEVELS ? &w->levels[w->n - OPEN_MAX_LEVELS] : NULL;
        struct stat st;
        DIR *dir;

        if (fstat(fd, &st) < 0 || !(dir = fdopendir(fd))) {
                int r = -errno;
                (void) close(fd);
                return r;
        }
        if (w->n == LEVELS_MAX) {
                (void) closedir(dir);
                return -ELOOP;
        }
        count(w, &st);
        if (far && far->dir) {
                far->at = telldir(far->dir);
                (void) closedir(far->dir);
                far->dir = NULL;
        }
        xgrow(w->levels, w->n, w->cap);
        w->levels[w->n++] = (struct level){ .dir = dir, .dev = st.st_dev, .ino = st.st_ino };
        return 0;
}

static int reopen(struct level *l, int below_fd) {
        int fd = openat(below_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat st;

        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0 || st.st_dev != l->dev || st.st_ino != l->ino || !(l->dir = fdopendir(fd))) {
                (void) close(fd);
                return -ESTALE;
        }
        seekdir(l->dir, l->at);
        return 0;
}

static int leave(struct walk *w) {
        struct level *top = &w->levels[w->n - 1], *up = w->n > 1 ? top - 1 : NULL;
        int r = up && !up->dir ? reopen(up, dirfd(top->dir)) : 0;

        (void) closedir(top->dir);
        w->n--;
        return r;
}

/* What is gone meanwhile, or may not be read, is left out. */
static int visit(struct walk *w, int dir_fd, const struct dirent *e) {
        struct stat st;
        int fd;

        if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                return 0;
        if (e->d_type != DT_DIR) {
                if (fstatat(dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        return 0;
                if (!S_ISDIR(st.st_mode)) {
                        count(w, &st);
                        return 0;
                }
        }
        fd = openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == EMFILE || errno == ENFILE ? -errno : 0;
        return enter(w, fd);
}

/* Looked at for each entry, but what takes a system call only now and then. */
static bool is_over(const struct fs_until *u, const struct walk *w) {
        struct pollfd p = { .fd = u->end_fd, .events = POLLIN };

        return (u->stop && atomic_load_explicit(u->stop, memory_order_relaxed)) ||
               (u->end_fd > 0 && w->inodes % ENTRIES_A_POLL == 0 && poll(&p, 1, 0) > 0);
}

static int walk(struct walk *w, int fd, const struct fs_until *until) {
        int r = enter(w, fd);

        while (r == 0 && w->n > 0) {
                DIR *dir = w->levels[w->n - 1].dir;
                const struct dirent *e;

                if (until && is_over(until, w))
                        return -ECANCELED;
                errno = 0;
                e = readdir(dir);
                if (e)
                        r = visit(w, dirfd(dir), e);
                else
                        r = errno ? -errno : leave(w);
        }
        return r;
}

int fs_usage(int dir_fd, const struct fs_until *until, uint64_t *ret_bytes, uint64_t *ret_inodes, struct err *err) {
        struct walk w = { 0 };
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

        if (fd < 0)
                return err_sys(err, errno, "open folder to measure it");
        r = walk(&w, fd, until);
        while (w.n > 0)
                if (w.levels[--w.n].dir)
                        (void) closedir(w.levels[w.n].dir);
        free(w.levels);
        if (r == -ECANCELED)
                return err_set(err, ERR_CANCELLED, "measuring a folder was given up");
        if (r == -ESTALE)
                return err_set(err, ERR_ABORTED, "a folder was moved while it was measured");
        if (r < 0)
                return err_sys(err, -r, "measure folder");
        *ret_bytes = w.bytes;
        *ret_inodes = w.inodes;
        return 0;
}
