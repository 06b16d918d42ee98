/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/strbuf.h"

enum { LINE_MAX_BYTES = 4 << 20, BLOCK = 65536 };

struct log_reader {
        char *path;
        int fd;                /* -1 while the file is not there (being rotated) */
        int notify;            /* inotify, -1 when unavailable: then we only poll */
        struct strbuf pending; /* the beginning of a line */
        struct strbuf out[2];  /* to write to stdout and stderr */
        struct log_options options;
};

/* One line into the streams' buffers. What is not in CRI format is shown as it is. */
static void take_line(struct log_reader *r, const char *line, size_t len) {
        const char *end = line + len, *stream = memchr(line, ' ', len), *tags;
        bool is_out = stream && end - stream >= 10 && memcmp(stream, " stdout ", 8) == 0;
        bool is_err = stream && end - stream >= 10 && memcmp(stream, " stderr ", 8) == 0;
        const char *text = is_out || is_err ? memchr(stream + 8, ' ', (size_t) (end - stream - 8)) : NULL;
        struct strbuf *out = &r->out[is_err && text];

        if (!text) {
                strbuf_append(out, line, len);
                strbuf_putc(out, '\n');
                return;
        }
        tags = stream + 8;
        if (r->options.timestamps) {
                strbuf_append(out, line, (size_t) (stream - line));
                strbuf_putc(out, ' ');
        }
        strbuf_append(out, text + 1, (size_t) (end - text - 1));
        if (*tags != 'P')
                strbuf_putc(out, '\n');
}

static int flush(struct log_reader *r, struct err *err) {
        for (int i = 0; i < 2; i++) {
                int res = fs_write_all(i == 0 ? STDOUT_FILENO : STDERR_FILENO, strbuf_str(&r->out[i]), r->out[i].len);

                r->out[i].len = 0;
                if (res < 0)
                        return err_set(err, ERR_UNAVAILABLE, "write the log: %s", strerror(-res));
        }
        return 0;
}

static int take_block(struct log_reader *r, const char *data, size_t n, struct err *err) {
        while (n > 0) {
                const char *newline = memchr(data, '\n', n);
                size_t len = newline ? (size_t) (newline - data) : n;

                strbuf_append(&r->pending, data, len);
                if (r->pending.overflow)
                        return err_set(err, ERR_EXHAUSTED,
                                       "%s has a line longer than %d bytes: is it a container's log?", r->path,
                                       LINE_MAX_BYTES);
                if (!newline)
                        return 0;
                take_line(r, strbuf_str(&r->pending), r->pending.len);
                r->pending.len = 0;
                data += len + 1;
                n -= len + 1;
        }
        return 0;
}

/* To the beginning of the last @lines lines. */
static int seek_tail(int fd, uint64_t lines) {
        char block[BLOCK];
        off_t at = lseek(fd, 0, SEEK_END), size = at;

        while (at > 0) {
                size_t n = (size_t) MIN_OF(at, (off_t) sizeof(block));
                ssize_t got = pread(fd, block, n, at - (off_t) n);

                if (got != (ssize_t) n)
                        return -EIO;
                at -= (off_t) n;
                for (size_t i = n; i-- > 0;)
                        if (block[i] == '\n' && at + (off_t) i + 1 < size && lines-- == 1)
                                return lseek(fd, at + (off_t) i + 1, SEEK_SET) < 0 ? -errno : 0;
        }
        return lseek(fd, lines ? 0 : size, SEEK_SET) < 0 ? -errno : 0;
}

static void open_file(struct log_reader *r) {
        r->fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (r->fd >= 0 && r->notify >= 0)
                (void) inotify_add_watch(r->notify, r->path, IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF | IN_ATTRIB);
}

int log_reader_new(const char *path, const struct log_options *options, struct log_reader **ret, struct err *err) {
        _cleanup_(log_reader_freep) struct log_reader *r = xnew(struct log_reader);
        struct stat st;

        r->path = xstrdup(path);
        r->options = *options;
        r->pending = STRBUF(LINE_MAX_BYTES);
        r->out[0] = r->out[1] = STRBUF(64 << 20);
        r->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        open_file(r);
        if (r->fd < 0)
                return err_sys(err, errno, "open the log %s (it is on the daemon's host)", path);
        if (fstat(r->fd, &st) < 0 || !S_ISREG(st.st_mode))
                return err_set(err, ERR_INVALID, "%s is not a plain file", path);
        if (options->has_tail && options->tail == 0)
                (void) lseek(r->fd, 0, SEEK_END);
        else if (options->has_tail && seek_tail(r->fd, options->tail) < 0)
                return err_sys(err, EIO, "read %s", path);
        *ret = TAKE_PTR(r);
        return 0;
}

struct log_reader *log_reader_free(struct log_reader *r) {
        if (!r)
                return NULL;
        (void) fd_close(r->fd);
        (void) fd_close(r->notify);
        strbuf_done(&r->pending);
        strbuf_done(&r->out[0]);
        strbuf_done(&r->out[1]);
        free(r->path);
        free(r);
        return NULL;
}

static int drain(struct log_reader *r, struct err *err) {
        char block[BLOCK];
        ssize_t n;
        int res;

        while (r->fd >= 0 && (n = read(r->fd, block, sizeof(block))) != 0) {
                if (n < 0 && errno == EINTR)
                        return 0;
                if (n < 0)
                        return err_sys(err, errno, "read %s", r->path);
                if ((res = take_block(r, block, (size_t) n, err)) < 0 || (res = flush(r, err)) < 0)
                        return res;
        }
        return 0;
}

/* Is there another file by now under the name, or less in it than we have read? */
static bool is_rotated(const struct log_reader *r) {
        struct stat now, old;

        if (stat(r->path, &now) < 0)
                return false; /* between two names: not yet */
        if (r->fd < 0 || fstat(r->fd, &old) < 0)
                return true;
        return now.st_ino != old.st_ino || now.st_dev != old.st_dev || now.st_size < lseek(r->fd, 0, SEEK_CUR);
}

int log_reader_pump(struct log_reader *r, struct err *err) {
        int res = drain(r, err);

        if (res < 0 || !is_rotated(r))
                return res;
        /* What came into the old file between our last read and the rotation. */
        res = drain(r, err);
        if (res < 0)
                return res;
        r->fd = fd_close(r->fd);
        r->pending.len = 0;
        open_file(r);
        return drain(r, err);
}

void log_reader_wait(struct log_reader *r, int timeout_ms) {
        struct pollfd p = { .fd = r->notify, .events = POLLIN };
        char events[4096];

        (void) poll(&p, 1, timeout_ms);
        while (r->notify >= 0 && read(r->notify, events, sizeof(events)) > 0)
                ;
}
