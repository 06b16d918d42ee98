/* SPDX-License-Identifier: Apache-2.0 */
/* Each entry is opened with O_PATH, which opens no device and follows no symlink, and looked at, read and asked for its
 * attributes through that one descriptor: what is exchanged meanwhile is either the old or the new, never a mixture.
 * The depth of a tree is in the hand of whoever made it: only the deepest folders are open, one further up is opened
 * again by "..", when the walk comes back, and has to be the one that was left. */
#include "image/tar-tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/openat2.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "image/tar-tree-xattr.h"
#include "image/tar-write.h"
#include "image/unpack-pax.h"

enum {
        BUFFER_BYTES = 256 * 1024,
        OPEN_MAX_LEVELS = 32,
        HEADERS_MAX = 16 << 20,
        /* Holes are told of where that is worth it, so that the archive doesn't hang on how a file system stores small
         * ones. */
        HOLE_MIN_BYTES = 64 * 1024,
        HOLES_MIN_BYTES = 1 << 20,
        PATH_SHOWN = 300,
};
static const size_t names_max = (size_t) 256 << 20;

struct level {
        int fd; /* O_PATH; -1: closed, to be opened from below */
        dev_t dev;
        ino_t ino;
        char *names; /* "name\0" each */
        const char **sorted;
        size_t n, at, bytes;
        size_t path_len; /* of the folder's path */
};

struct tree {
        const struct tar_tree_args *args;
        struct level *levels;
        size_t n, cap;
        size_t names_bytes; /* of all levels and links */
        struct map *links;  /* "DEV:INODE" -> the path it was written as */
        char path[TAR_MAX_NAME + NAME_MAX + 2], name[TAR_MAX_NAME + NAME_MAX + 16];
        struct strbuf headers;
        struct tree_xattrs xattrs;
        struct tar_map map;
        uint8_t *buffer;
        size_t buffered;
};

static int is_gone(struct tree *t, const char *why) {
        if (t->args->skipped)
                t->args->skipped(t->path, why, t->args->userdata);
        return 0;
}

static int bytes_fit(struct tree *t, size_t n, struct err *err) {
        t->names_bytes += n;
        return t->names_bytes > names_max
                       ? err_set(err, ERR_EXHAUSTED, "names of files need more than %zu MiB", names_max >> 20)
                       : 0;
}

/* --- output ------------------------------------------------------------------------------------------------------- */

static int flush(struct tree *t, struct err *err) {
        size_t n = t->buffered;

        t->buffered = 0;
        return n > 0 ? t->args->write(t->buffer, n, t->args->userdata, err) : 0;
}

/* Room for some bytes at the end of the buffer; then they are added to buffered. */
static int room(struct tree *t, uint8_t **ret, size_t *ret_n, struct err *err) {
        int r = t->buffered == BUFFER_BYTES ? flush(t, err) : 0;

        *ret = t->buffer + t->buffered;
        *ret_n = BUFFER_BYTES - t->buffered;
        return r;
}

/* @data NULL: zeros. */
static int put(struct tree *t, const void *data, uint64_t len, struct err *err) {
        const uint8_t *from = data;

        while (len > 0) {
                uint8_t *to;
                size_t n;
                int r = room(t, &to, &n, err);

                if (r != 0)
                        return r;
                n = (size_t) MIN_OF((uint64_t) n, len);
                if (from) {
                        memcpy(to, from, n);
                        from += n;
                } else {
                        memset(to, 0, n);
                }
                t->buffered += n;
                len -= n;
        }
        return 0;
}

/* @path: relative to the root; it gets the prefix, and a folder its "/". */
static int put_entry(struct tree *t, const char *path, const struct tar_entry *e, struct err *err) {
        struct tar_entry named = *e;
        bool slash = e->type == TAR_DIR && *path;
        int r;

        if (snprintf(t->name, sizeof(t->name), "%s%s%s", *path ? t->args->prefix ?: "" : "./", path,
                     slash ? "/" : "") >= (int) sizeof(t->name))
                return err_set(err, ERR_INVALID, "the path %.100s... is longer than %zu bytes", path,
                               sizeof(t->name) - 1);
        named.name = t->name;
        named.link = e->link ?: "";
        t->headers.len = 0;
        r = tar_write_entry(&named, t->map.extents, t->map.len, &t->headers, err);
        return r == 0 ? put(t, t->headers.data, t->headers.len, err) : r;
}

/* --- plain files -------------------------------------------------------------------------------------------------- */

static int add_extent(struct tree *t, uint64_t from, uint64_t to, struct err *err) {
        struct tar_extent *last = t->map.len > 0 ? &t->map.extents[t->map.len - 1] : NULL;

        if (last && (from - last->offset - last->len < HOLE_MIN_BYTES || t->map.len == TAR_MAX_EXTENTS - 1)) {
                last->len = to - last->offset;
                return 0;
        }
        return tar_map_add(&t->map, from < HOLE_MIN_BYTES ? 0 : from, from < HOLE_MIN_BYTES ? to : to - from, err);
}

/* Which pieces of the file hold data; one of all of it, when holes are not worth it. */
static int find_extents(struct tree *t, int fd, uint64_t size, uint64_t *ret_stored, struct err *err) {
        uint64_t at = 0, stored = 0;
        int r = 0;

        t->map.len = 0;
        while (r == 0 && at < size) {
                off_t data = lseek(fd, (off_t) at, SEEK_DATA), hole;

                if (data < 0 && errno == ENXIO)
                        break;
                hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
                if (hole < 0 || (uint64_t) hole > size) /* or a file system that knows of none */
                        hole = (off_t) size;
                if (data < 0 || (uint64_t) data > size)
                        data = (off_t) at;
                if ((uint64_t) hole <= at)
                        break;
                r = add_extent(t, (uint64_t) data, (uint64_t) hole, err);
                at = (uint64_t) hole;
        }
        for (size_t i = 0; i < t->map.len; i++)
                stored += t->map.extents[i].len;
        *ret_stored = stored;
        /* GNU tar knows by an empty last piece how long a file is that ends with a hole. */
        return r == 0 && at < size ? tar_map_add(&t->map, size, 0, err) : r;
}

/* A file that got shorter is filled up. */
static int put_piece(struct tree *t, int fd, uint64_t at, uint64_t len, struct err *err) {
        while (len > 0) {
                uint8_t *to;
                size_t n;
                ssize_t got;
                int r = room(t, &to, &n, err);

                if (r != 0)
                        return r;
                got = pread(fd, to, (size_t) MIN_OF((uint64_t) n, len), (off_t) at);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return err_sys(err, errno, "read");
                if (got == 0)
                        return put(t, NULL, len, err);
                t->buffered += (size_t) got;
                at += (uint64_t) got;
                len -= (uint64_t) got;
        }
        return 0;
}

static int put_file(struct tree *t, int path_fd, const struct stat *st, struct tar_entry *e, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        char path[32];
        int r = 0;

        e->size = e->stored_size = (uint64_t) st->st_size;
        t->map.len = 0;
        if (e->size > 0) {
                (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
                fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
                if (fd < 0)
                        return err_sys(err, errno, "open");
        }
        if (e->size >= HOLES_MIN_BYTES) {
                r = find_extents(t, fd, e->size, &e->stored_size, err);
                e->sparse = e->size - e->stored_size >= HOLES_MIN_BYTES;
                if (!e->sparse)
                        e->stored_size = e->size;
        }
        if (r == 0)
                r = put_entry(t, t->path, e, err);
        if (r == 0 && !e->sparse)
                r = put_piece(t, fd, 0, e->size, err);
        for (size_t i = 0; r == 0 && e->sparse && i < t->map.len; i++)
                r = put_piece(t, fd, t->map.extents[i].offset, t->map.extents[i].len, err);
        return r == 0 ? put(t, NULL, tar_write_padding(e->stored_size), err) : r;
}

/* --- others ------------------------------------------------------------------------------------------------------- */

static void fill(struct tree *t, const struct stat *st, struct tar_entry *e) {
        const struct id_maps *m = t->args->owners;

        *e = (struct tar_entry){
                .mode = st->st_mode & 07777,
                .uid = m ? tree_xattrs_map_id(m->uids, m->n_uids, st->st_uid) : st->st_uid,
                .gid = m ? tree_xattrs_map_id(m->gids, m->n_gids, st->st_gid) : st->st_gid,
                .mtime = st->st_mtim.tv_sec,
                .mtime_ns = (uint32_t) st->st_mtim.tv_nsec,
                .acls_as_text = t->args->kind == TAR_TREE_PLAIN, /* layers have them in one form */
        };
}

/* 1: it is written, as a link to what was. */
static int put_link(struct tree *t, const struct stat *st, const struct tar_entry *e, struct err *err) {
        struct tar_entry link = *e;
        char key[48], target[sizeof(t->name)];
        const char *first;
        int r;

        (void) snprintf(key, sizeof(key), "%jx:%jx", (uintmax_t) st->st_dev, (uintmax_t) st->st_ino);
        first = map_get(t->links, key);
        if (!first) {
                r = bytes_fit(t, strlen(t->path) + 128, err);
                if (r == 0)
                        (void) map_set(t->links, key, xstrdup(t->path));
                return r;
        }
        (void) snprintf(target, sizeof(target), "%s%s", t->args->prefix ?: "", first);
        link.type = TAR_LINK;
        link.link = target;
        link.n_xattrs = 0;
        r = put_entry(t, t->path, &link, err);
        return r == 0 ? 1 : r;
}

static int put_symlink(struct tree *t, int fd, const struct tar_entry *e, struct err *err) {
        struct tar_entry link = *e;
        char target[TAR_MAX_NAME + 1];
        ssize_t n = readlinkat(fd, "", target, sizeof(target));

        if (n < 0)
                return err_sys(err, errno, "read the link");
        if (n == (ssize_t) sizeof(target))
                return err_set(err, ERR_INVALID, "the link's target has more than %d bytes", TAR_MAX_NAME);
        target[n] = '\0';
        link.type = TAR_SYMLINK;
        link.link = target;
        return put_entry(t, t->path, &link, err);
}

static int put_node(struct tree *t, const struct stat *st, struct tar_entry *e, struct err *err) {
        e->type = S_ISFIFO(st->st_mode) ? TAR_FIFO : S_ISCHR(st->st_mode) ? TAR_CHAR : TAR_BLOCK;
        e->major = major(st->st_rdev);
        e->minor = minor(st->st_rdev);
        return put_entry(t, t->path, e, err);
}

/* @name, of the folder whose path the first @len bytes are, is no more in the layers below; "": nothing of them is. */
static int put_whiteout(struct tree *t, size_t len, const char *name, struct err *err) {
        struct tar_entry e = { .type = TAR_FILE };
        char path[sizeof(t->path) + 16];

        (void) snprintf(path, sizeof(path), "%.*s%s.wh.%s", (int) len, t->path, len ? "/" : "",
                        *name ? name : ".wh..opq");
        t->map.len = 0;
        return put_entry(t, path, &e, err);
}

/* --- the walk ----------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static int read_names(struct tree *t, int fd, struct level *l, struct err *err) {
        _cleanup_strbuf_ struct strbuf names = STRBUF(names_max + 1);
        _cleanup_(closedirp) DIR *dir = NULL;
        int dir_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
        const struct dirent *e;

        if (dir_fd < 0 || !(dir = fdopendir(dir_fd))) {
                r = errno;
                (void) fd_close(dir_fd);
                return err_sys(err, r, "open the folder");
        }
        while ((errno = 0, e = readdir(dir))) {
                if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                        continue;
                r = bytes_fit(t, strlen(e->d_name) + 1 + sizeof(char *), err);
                if (r < 0)
                        return r;
                l->bytes += strlen(e->d_name) + 1 + sizeof(char *);
                strbuf_append(&names, e->d_name, strlen(e->d_name) + 1);
                l->n++;
        }
        if (errno && errno != ENOENT)
                return err_sys(err, errno, "read the folder");
        l->names = strbuf_take(&names);
        l->sorted = xcalloc(l->n + 1, sizeof(*l->sorted));
        for (size_t i = 0, at = 0; i < l->n; i++, at += strlen(l->names + at) + 1)
                l->sorted[i] = l->names + at;
        qsort(l->sorted, l->n, sizeof(*l->sorted), by_name);
        return 0;
}

static void level_done(struct tree *t, struct level *l) {
        t->names_bytes -= l->bytes;
        l->fd = fd_close(l->fd);
        free(l->sorted);
        free(l->names);
}

/* The folder whose path stands in t->path. Takes @fd. */
static int enter(struct tree *t, int fd, const struct stat *st, struct err *err) {
        struct level l = { .fd = fd, .dev = st->st_dev, .ino = st->st_ino, .path_len = strlen(t->path) };
        int r = read_names(t, fd, &l, err);

        if (r < 0) {
                level_done(t, &l);
                return r;
        }
        if (t->n >= OPEN_MAX_LEVELS)
                t->levels[t->n - OPEN_MAX_LEVELS].fd = fd_close(t->levels[t->n - OPEN_MAX_LEVELS].fd);
        xgrow(t->levels, t->n, t->cap);
        t->levels[t->n++] = l;
        return 0;
}

static int leave(struct tree *t, struct err *err) {
        struct level *top = &t->levels[t->n - 1], *up = t->n > 1 ? top - 1 : NULL;
        struct stat st;

        if (up && up->fd < 0) {
                up->fd = openat(top->fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (up->fd < 0 || fstat(up->fd, &st) < 0 || st.st_dev != up->dev || st.st_ino != up->ino)
                        return err_set(err, ERR_ABORTED, "the folder was moved meanwhile");
        }
        level_done(t, top);
        t->n--;
        return 0;
}

static int put_folder(struct tree *t, int fd, const struct stat *st, struct tar_entry *e, struct err *err) {
        int own, r;

        e->type = TAR_DIR;
        r = put_entry(t, t->path, e, err);
        if (r == 0 && t->args->kind == TAR_TREE_UPPER && t->xattrs.opaque)
                r = put_whiteout(t, strlen(t->path), "", err);
        if (r != 0)
                return r;
        own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return own < 0 ? err_sys(err, errno, "keep the folder open") : enter(t, own, st, err);
}

/* @fd: what stands at t->path, by O_PATH. */
static int put_any(struct tree *t, int fd, const struct stat *st, struct err *err) {
        struct tar_entry e;
        int r;

        if (S_ISSOCK(st->st_mode))
                return is_gone(t, "a socket");
        fill(t, st, &e);
        r = tree_xattrs_read(&t->xattrs, fd, t->args->owners, err);
        if (r == 0 && t->args->kind == TAR_TREE_UPPER && t->xattrs.elsewhere)
                r = err_set(err, ERR_PRECONDITION,
                            "overlay keeps the rest of it elsewhere (%s): a layer can't be made of this folder alone",
                            t->xattrs.elsewhere);
        if (r < 0)
                return r;
        e.xattrs = t->xattrs.list;
        e.n_xattrs = t->xattrs.n;
        if (S_ISDIR(st->st_mode))
                return put_folder(t, fd, st, &e, err);
        r = st->st_nlink > 1 ? put_link(t, st, &e, err) : 0;
        if (r != 0)
                return MIN_OF(r, 0);
        if (S_ISREG(st->st_mode))
                return put_file(t, fd, st, &e, err);
        return S_ISLNK(st->st_mode) ? put_symlink(t, fd, &e, err) : put_node(t, st, &e, err);
}

/* Of a mount that stands in the tree its folder is kept, as something to mount on. */
static int put_mount(struct tree *t, int dir_fd, const char *name, struct err *err) {
        struct tar_entry e;
        struct stat st;

        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0 || !S_ISDIR(st.st_mode))
                return is_gone(t, "another file system is mounted there");
        fill(t, &st, &e);
        e.type = TAR_DIR;
        (void) is_gone(t, "another file system is mounted there: the folder alone is kept");
        return put_entry(t, t->path, &e, err);
}

static int put_found(struct tree *t, int dir_fd, const char *name, size_t parent_len, struct err *err) {
        const struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_XDEV };
        _cleanup_(fd_closep) int fd = (int) syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
        struct stat st;

        if (fd < 0 && errno == EXDEV)
                return put_mount(t, dir_fd, name, err);
        if (fd < 0 && errno == ENOENT)
                return is_gone(t, "it vanished meanwhile");
        if (fd < 0 || fstat(fd, &st) < 0)
                return err_sys(err, errno, "open");
        if (t->args->kind == TAR_TREE_UPPER && S_ISCHR(st.st_mode) && st.st_rdev == 0)
                return put_whiteout(t, parent_len, name, err);
        return put_any(t, fd, &st, err);
}

static int visit(struct tree *t, const char *name, struct err *err) {
        const struct level *l = &t->levels[t->n - 1];
        size_t parent = l->path_len, prefix = t->args->prefix ? strlen(t->args->prefix) : 0;
        int r;

        if (parent + strlen(name) + prefix + 3 > TAR_MAX_NAME) {
                t->path[parent] = '\0';
                return err_set(err, ERR_INVALID, "%.*s: a path below it has more than %d bytes", PATH_SHOWN, t->path,
                               TAR_MAX_NAME);
        }
        (void) snprintf(t->path + parent, sizeof(t->path) - parent, "%s%s", parent > 0 ? "/" : "", name);
        if (t->args->leave_out && t->args->leave_out(t->path, t->args->userdata))
                return 0;
        if (t->args->kind != TAR_TREE_PLAIN && str_after(name, ".wh."))
                return err_set(
                        err, ERR_INVALID,
                        "%.*s: names that begin with \".wh.\" mean removals in an image's layer: rename or remove it",
                        PATH_SHOWN, t->path);
        r = put_found(t, l->fd, name, parent, err);
        return r < 0 ? err_wrap(err, "%.*s", PATH_SHOWN, t->path) : r;
}

static int walk(struct tree *t, struct err *err) {
        static const uint8_t end[2 * TAR_BLOCK_BYTES];
        _cleanup_(fd_closep) int fd = openat(t->args->root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct stat st;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return err_sys(err, errno, "open the folder");
        r = put_any(t, fd, &st, err);
        while (r == 0 && t->n > 0) {
                struct level *l = &t->levels[t->n - 1];

                r = l->at < l->n ? visit(t, l->sorted[l->at++], err) : leave(t, err);
        }
        if (r == 0 && !t->args->open_end)
                r = put(t, end, sizeof(end), err);
        return r == 0 ? flush(t, err) : r;
}

static void links_free(struct map *links) {
        void *path;

        for (size_t it = 0; map_next(links, &it, NULL, &path);)
                free(path);
        (void) map_free(links);
}

int tar_tree(const struct tar_tree_args *args, struct err *err) {
        struct tree *t = xnew(struct tree);
        int r;

        t->args = args;
        t->links = map_new();
        t->headers = STRBUF(HEADERS_MAX);
        t->buffer = xcalloc(1, BUFFER_BYTES);
        r = walk(t, err);
        while (t->n > 0)
                level_done(t, &t->levels[--t->n]);
        free(t->levels);
        links_free(t->links);
        strbuf_done(&t->headers);
        tree_xattrs_done(&t->xattrs);
        free(t->map.extents);
        free(t->buffer);
        free(t);
        return r;
}
