/* SPDX-License-Identifier: Apache-2.0 */
#include "image/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/str.h"
#include "image/unpack-tar.h"

enum { BLOCK = 512, BUFFER_BYTES = 256 * 1024, MAGIC_BYTES = 6 };

struct member {
        const char *link; /* where it leads, from the archive's root on; NULL: it is a file */
        bool sparse;
        uint64_t offset, size;
};

struct archive {
        int fd;
        bool owned, is_folder;
        int cancel_fd;
        struct arena *arena; /* members and names */
        struct map *members;
        size_t n_entries, name_bytes;

        /* While it is read. */
        uint64_t start, end; /* where it is in fd */
        uint64_t next;       /* behind the block that came last */
};

static int check_cancelled(const struct archive *a, struct err *err) {
        struct pollfd p = { .fd = a->cancel_fd, .events = POLLIN };

        return poll(&p, 1, 0) > 0 ? err_set(err, ERR_CANCELLED, "cancelled") : 0;
}

/* --- writing it out ----------------------------------------------------------------------------------------------- */

struct spool {
        struct archive *archive;
        int from, to;
        struct content *content;
        uint64_t written, max;
        struct inflate *inflate;
        uint8_t *in, *out;
};

/* What there is, at most BUFFER_BYTES, into the buffer from @at on; 0: the end. */
static int take_some(struct spool *s, size_t at, size_t *ret, struct err *err) {
        struct pollfd p[2] = { { .fd = s->from, .events = POLLIN }, { .fd = s->archive->cancel_fd, .events = POLLIN } };
        ssize_t n;

        do {
                if (poll(p, 2, -1) < 0 && errno != EINTR)
                        return err_sys(err, errno, "wait for the archive");
                if (p[1].revents)
                        return err_set(err, ERR_CANCELLED, "cancelled");
                n = p[0].revents ? read(s->from, s->in + at, BUFFER_BYTES) : -1;
        } while (n < 0 && (!p[0].revents || errno == EINTR || errno == EAGAIN));
        if (n < 0)
                return err_sys(err, errno, "read the archive");
        *ret = (size_t) n;
        return 0;
}

static int put_some(struct spool *s, size_t len, struct err *err) {
        int r;

        s->written += len;
        if (s->written > s->max)
                return err_set(err, ERR_EXHAUSTED, "the archive has more than %llu bytes", (unsigned long long) s->max);
        r = content_write(s->content, s->to, s->out, len);
        return r < 0 ? err_sys(err, -r, "write the archive to the disk") : 0;
}

static int inflate_some(struct spool *s, size_t len, struct err *err) {
        struct inflate_in in = { s->in, len };
        struct inflate_out out;
        int r;

        do {
                out = (struct inflate_out){ s->out, BUFFER_BYTES };
                r = inflate_run(s->inflate, &in, &out, err);
                if (r == 0)
                        r = put_some(s, BUFFER_BYTES - out.len, err);
                if (r == 0)
                        r = check_cancelled(s->archive, err);
        } while (r == 0 && (in.len || out.len == 0));
        return r;
}

static int spool_all(struct spool *s, struct err *err) {
        const char *foreign;
        size_t len = 0, more = 1;
        int r = 0;

        /* Enough to know it by: a pipe may give a byte at a time. */
        while (r == 0 && len < MAGIC_BYTES && more) {
                r = take_some(s, len, &more, err);
                len += more;
        }
        if (r < 0)
                return r;
        s->inflate = inflate_new(inflate_kind_of_data(s->in, len, &foreign));
        if (foreign)
                return inflate_refuse_foreign(foreign, err);
        while (r == 0 && len) {
                r = inflate_some(s, len, err);
                if (r == 0)
                        r = take_some(s, 0, &len, err);
        }
        return r == 0 ? inflate_end(s->inflate, err) : r;
}

static int write_out(struct archive *a, const struct archive_args *args, struct err *err) {
        struct spool s = { .archive = a, .from = args->fd, .content = args->content, .max = args->max_bytes };
        int r;

        s.to = openat(args->spool_dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (s.to < 0 && content_make_room(args->content, errno))
                s.to = openat(args->spool_dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (s.to < 0)
                return err_sys(err, errno, "make a file for the archive");
        s.in = xcalloc(1, BUFFER_BYTES + MAGIC_BYTES);
        s.out = xcalloc(1, BUFFER_BYTES);
        r = spool_all(&s, err);
        (void) inflate_free(s.inflate);
        free(s.in);
        free(s.out);
        a->fd = s.to;
        a->owned = true;
        a->start = 0;
        a->end = s.written;
        return r;
}

/* --- its names ---------------------------------------------------------------------------------------------------- */

/* @name from @base on ("" or "folder/"), without "." and ".."; NULL: it leads out, or nowhere. */
static const char *resolve(struct archive *a, const char *base, size_t base_len, const char *name) {
        char *out = arena_xalloc(a->arena, 1, base_len + strlen(name) + 2);
        size_t len = base_len;

        memcpy(out, base, base_len);
        if (*name == '/')
                return NULL;
        while (*name) {
                size_t n = strcspn(name, "/");

                if (n == 2 && name[0] == '.' && name[1] == '.') {
                        if (len == 0)
                                return NULL;
                        for (len--; len > 0 && out[len - 1] != '/';)
                                len--;
                } else if (n > 0 && !(n == 1 && name[0] == '.')) {
                        memcpy(out + len, name, n);
                        len += n;
                        out[len++] = '/';
                }
                name += n;
                name += *name == '/';
        }
        out[len > 0 ? len - 1 : 0] = '\0';
        return out;
}

static int bad_name(const char *name, const char *why, struct err *err) {
        return err_set(err, ERR_INVALID, "member \"%.100s\" %s", name, why);
}

static int add_member(struct archive *a, const struct tar_entry *e, struct err *err) {
        const char *name = resolve(a, "", 0, e->name), *slash;
        struct member *m;

        if (!name)
                return bad_name(e->name, "leads out of the archive", err);
        if (e->type != TAR_FILE && e->type != TAR_LINK && e->type != TAR_SYMLINK)
                return 0;
        m = arena_new_of(a->arena, struct member);
        *m = (struct member){ .sparse = e->sparse, .offset = a->next, .size = e->size };
        slash = strrchr(name, '/');
        if (e->type != TAR_FILE) {
                m->link = e->type == TAR_LINK ? resolve(a, "", 0, e->link)
                                              : resolve(a, name, slash ? (size_t) (slash + 1 - name) : 0, e->link);
                if (!m->link)
                        return bad_name(e->name, "is a link that leads out of the archive", err);
        }
        if (!*name || map_set(a->members, name, m))
                return bad_name(e->name, *name ? "is there twice" : "has no name", err);
        return 0;
}

static int on_entry(void *userdata, const struct tar_entry *e, struct err *err) {
        struct archive *a = userdata;

        a->name_bytes += strlen(e->name) + strlen(e->link);
        if (++a->n_entries > ARCHIVE_MEMBERS_MAX || a->name_bytes > ARCHIVE_NAMES_BYTES_MAX)
                return err_set(err, ERR_EXHAUSTED, "the archive has more than %d members, or %d bytes of names",
                               ARCHIVE_MEMBERS_MAX, ARCHIVE_NAMES_BYTES_MAX);
        return add_member(a, e, err);
}

/* Header by header, past what lies between. */
static int read_names(struct archive *a, struct err *err) {
        static const struct tar_ops ops = { .entry = on_entry };
        _cleanup_(tar_freep) struct tar *t = tar_new(&ops, a);
        uint8_t block[BLOCK];
        uint64_t skip = 0;
        int r = 0;

        a->next = a->start;
        while (r == 0 && a->next < a->end && !tar_is_over(t)) {
                size_t want = (size_t) MIN_OF((uint64_t) BLOCK, a->end - a->next);
                ssize_t n = pread(a->fd, block, want, (off_t) a->next);

                if (n <= 0)
                        return err_sys(err, n < 0 ? errno : EIO, "read the archive");
                a->next += (uint64_t) n;
                r = tar_write(t, block, (size_t) n, err);
                if (r == 0)
                        r = tar_skip(t, &skip, err);
                if (r == 0 && skip > a->end - a->next)
                        r = err_set(err, ERR_INVALID, "malformed archive: it is cut off");
                if (r == 0)
                        r = check_cancelled(a, err);
                a->next += skip;
        }
        return r == 0 ? tar_end(t, err) : r;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static int open_file(struct archive *a, const struct archive_args *args, const struct stat *st, struct err *err) {
        off_t start = S_ISREG(st->st_mode) ? lseek(args->fd, 0, SEEK_CUR) : -1;
        const char *foreign;
        uint8_t magic[MAGIC_BYTES];
        ssize_t n;
        int r = 0;

        if (start >= 0) {
                n = pread(args->fd, magic, sizeof(magic), start);
                if (n < 0)
                        return err_sys(err, errno, "read the archive");
                if (inflate_kind_of_data(magic, (size_t) n, &foreign) == INFLATE_NONE) {
                        if (foreign)
                                return inflate_refuse_foreign(foreign, err);
                        a->fd = args->fd;
                        a->start = (uint64_t) start;
                        a->end = (uint64_t) st->st_size;
                        return read_names(a, err);
                }
        }
        r = write_out(a, args, err);
        return r == 0 ? read_names(a, err) : r;
}

int archive_open(const struct archive_args *args, struct archive **ret, struct err *err) {
        _cleanup_(archive_freep) struct archive *a = xnew(struct archive);
        struct stat st;
        int r = 0;

        a->fd = -1;
        a->cancel_fd = args->cancel_fd;
        /* Names are resolved into new ones; a member is its struct beside these. */
        a->arena = arena_new((size_t) 8 * ARCHIVE_NAMES_BYTES_MAX);
        a->members = map_new();
        if (fstat(args->fd, &st) < 0)
                return err_sys(err, errno, "look at the archive");
        a->is_folder = S_ISDIR(st.st_mode);
        if (a->is_folder)
                a->fd = args->fd;
        else
                r = open_file(a, args, &st, err);
        if (r == 0)
                *ret = TAKE_PTR(a);
        return r;
}

struct archive *archive_free(struct archive *a) {
        if (!a)
                return NULL;
        if (a->owned)
                (void) fd_close(a->fd);
        (void) map_free(a->members);
        (void) arena_free(a->arena);
        free(a);
        return NULL;
}

bool archive_is_folder(const struct archive *a) {
        return a->is_folder;
}

/* --- its files ---------------------------------------------------------------------------------------------------- */

static int missing(const char *name, struct err *err) {
        return err_set(err, ERR_NOT_FOUND, "there is no file \"%.100s\" in it", name);
}

static int find_in_folder(const struct archive *a, const char *name, struct archive_file *ret, struct err *err) {
        const struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                      .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
        _cleanup_(fd_closep) int fd = (int) syscall(SYS_openat2, a->fd, name, &how, sizeof(how));
        struct stat st;

        if (fd < 0 && errno == ENOENT)
                return missing(name, err);
        if (fd < 0)
                return err_sys(err, errno, "open \"%.100s\"", name);
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return err_set(err, ERR_NOT_FOUND, "\"%.100s\" is no file", name);
        *ret = (struct archive_file){ .fd = TAKE_FD(fd), .owned = true, .size = (uint64_t) st.st_size };
        return 0;
}

int archive_find(const struct archive *a, const char *name, struct archive_file *ret, struct err *err) {
        const struct member *m;

        if (a->is_folder)
                return find_in_folder(a, name, ret, err);
        m = map_get(a->members, str_after(name, "./") ?: name);
        for (int links = 0; m && m->link && links < ARCHIVE_LINKS_MAX; links++)
                m = map_get(a->members, m->link);
        if (!m || m->link)
                return missing(name, err);
        if (m->sparse)
                return err_set(err, ERR_UNIMPLEMENTED, "\"%.100s\" is a sparse file", name);
        *ret = (struct archive_file){ .fd = a->fd, .offset = m->offset, .size = m->size };
        return 0;
}

void archive_file_done(struct archive_file *f) {
        if (f->owned)
                f->fd = fd_close(f->fd);
}

bool archive_has(const struct archive *a, const char *name) {
        _cleanup_(archive_file_done) struct archive_file f = { .fd = -1 };
        struct err err;

        return archive_find(a, name, &f, &err) == 0;
}

int archive_pread(const struct archive_file *f, void *to, size_t len, uint64_t at, struct err *err) {
        for (uint8_t *p = to; len > 0;) {
                ssize_t n = pread(f->fd, p, len, (off_t) (f->offset + at));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? err_sys(err, errno, "read the archive")
                                     : err_set(err, ERR_DATA_LOSS, "the archive has become shorter");
                p += n;
                at += (uint64_t) n;
                len -= (size_t) n;
        }
        return 0;
}

int archive_read(const struct archive *a, const char *name, size_t max, char **ret, size_t *ret_len, struct err *err) {
        _cleanup_(archive_file_done) struct archive_file f = { .fd = -1 };
        _cleanup_(freep) char *data = NULL;
        int r = archive_find(a, name, &f, err);

        if (r < 0)
                return r;
        if (f.size > max)
                return err_set(err, ERR_EXHAUSTED, "\"%.100s\" is larger than %zu bytes", name, max);
        data = xcalloc(1, (size_t) f.size + 1);
        r = archive_pread(&f, data, (size_t) f.size, 0, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(data);
        *ret_len = (size_t) f.size;
        return 0;
}

int archive_compression(const struct archive_file *f, enum inflate_kind *ret, struct err *err) {
        uint8_t magic[MAGIC_BYTES];
        size_t len = (size_t) MIN_OF((uint64_t) sizeof(magic), f->size);
        const char *foreign;
        int r = archive_pread(f, magic, len, 0, err);

        if (r < 0)
                return r;
        *ret = inflate_kind_of_data(magic, len, &foreign);
        return foreign ? inflate_refuse_foreign(foreign, err) : 0;
}
