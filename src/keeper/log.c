/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "keeper/attach.h"

enum {
        PEEK_MAX = 256 * 1024,
        PREFIX_MAX = 64,
        OUT_MAX = 512 * 1024,
        PUMP_ROUNDS = 16, /* one noisy container must not starve the others */
};

static struct log_stream *partials;
static int peek_pipe[2] = { -1, -1 }, null_fd = -1;
static char in_buf[PEEK_MAX], out_buf[OUT_MAX];

static int open_shared(void) {
        if (peek_pipe[0] >= 0)
                return 0;
        if (pipe2(peek_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        /* As many slots as the biggest pipe that a container can make of its own. */
        (void) fcntl(peek_pipe[0], F_SETPIPE_SZ, 1 << 20);
        null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
        return null_fd < 0 ? -errno : 0;
}

static size_t put_prefix(char *to, const char *stream, char tag) {
        static time_t second;
        static char day[24];
        struct timespec ts;
        struct tm tm;

        (void) clock_gettime(CLOCK_REALTIME, &ts);
        if (ts.tv_sec != second) {
                second = ts.tv_sec;
                (void) gmtime_r(&second, &tm);
                (void) strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
        }
        return (size_t) snprintf(to, PREFIX_MAX, "%s.%09ldZ %s %c ", day, ts.tv_nsec, stream, tag);
}

static void set_partial(struct log_stream *s, bool partial) {
        struct log_stream **p;

        if (partial && !s->partial) {
                s->partial_since_ns = clock_monotonic_ns();
                s->next_partial = partials;
                partials = s;
        } else if (!partial && s->partial) {
                for (p = &partials; *p != s; p = &(*p)->next_partial)
                        ;
                *p = s->next_partial;
        }
        s->partial = partial;
}

/* Turns @n bytes into entries in out_buf. Returns how many bytes they cover; the rest is an unfinished line. */
static size_t format_entries(const struct log_stream *s, const char *data, size_t n, bool all, size_t *ret_out) {
        size_t at = 0, out = 0;

        while (at < n) {
                size_t left = n - at, line, content;
                const char *nl = memchr(data + at, '\n', MIN_OF(left, (size_t) LOG_CHUNK_MAX + 1));

                if (nl)
                        line = (size_t) (nl - (data + at));
                else if (left > LOG_CHUNK_MAX)
                        line = LOG_CHUNK_MAX;
                else if (all)
                        line = left;
                else
                        break;
                if (out + PREFIX_MAX + line + 1 > sizeof(out_buf))
                        break;
                content = line;
                if (nl && content && data[at + content - 1] == '\r')
                        content--;
                out += put_prefix(out_buf + out, s->name, nl ? 'F' : 'P');
                memcpy(out_buf + out, data + at, content);
                out += content;
                out_buf[out++] = '\n';
                at += line + (nl ? 1 : 0);
        }
        *ret_out = out;
        return at;
}

static void cut_torn_line(int fd) {
        struct stat st;
        char buf[4096];
        off_t at, n;

        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
                return;
        for (at = st.st_size; at > 0; at -= n) {
                n = MIN_OF(at, (off_t) sizeof(buf));
                if (pread(fd, buf, (size_t) n, at - n) != n)
                        return;
                for (off_t i = n; i > 0; i--)
                        if (buf[i - 1] == '\n') {
                                if (at - n + i < st.st_size && ftruncate(fd, at - n + i) < 0)
                                        log_warn("cannot cut a torn line off a container's log", "error",
                                                 strerror(errno), NULL);
                                return;
                        }
                /* No entry is longer than this: whatever it is, it is not a log of ours. */
                if (st.st_size - at > 2 * LOG_CHUNK_MAX)
                        return;
        }
        if (ftruncate(fd, 0) < 0)
                log_warn("cannot cut a torn line off a container's log", "error", strerror(errno), NULL);
}

/* A log that can't be written (disk full) must not stop the container: what can't be stored is dropped, and said once.
 */
static void write_entries(struct log_file *f, size_t n) {
        int r;

        if (f->fd < 0 || n == 0)
                return;
        r = fs_write_all(f->fd, out_buf, n);
        if (r < 0 && !f->failed)
                log_error("cannot write a container's log; its output is dropped until this works again", "error",
                          strerror(-r), NULL);
        if (r < 0)
                cut_torn_line(f->fd);
        f->failed = r < 0;
}

static void consume(int fd, size_t n) {
        ssize_t done;

        while (n) {
                done = splice(fd, NULL, null_fd, NULL, n, SPLICE_F_NONBLOCK);
                if (done <= 0 && errno == EINVAL)
                        done = read(fd, in_buf, MIN_OF(n, sizeof(in_buf)));
                if (done <= 0)
                        return;
                n -= (size_t) done;
        }
}

/* A copy of what is in the pipe, left in it. 0: no writers and empty; -EAGAIN: empty. */
static ssize_t peek(int fd) {
        ssize_t n = tee(fd, peek_pipe[1], sizeof(in_buf), SPLICE_F_NONBLOCK), got = 0, r;

        if (n <= 0)
                return n < 0 ? -errno : 0;
        while (got < n) {
                r = read(peek_pipe[0], in_buf + got, (size_t) (n - got));
                if (r <= 0)
                        return -EIO;
                got += r;
        }
        return got;
}

static void finish(struct log_stream *s) {
        set_partial(s, false);
        if (s->closed)
                s->closed(s);
}

static bool writers_gone(int fd) {
        struct epoll_event e = { .events = EPOLLIN };
        _cleanup_(fd_closep) int ep = epoll_create1(EPOLL_CLOEXEC);

        return ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0 && epoll_wait(ep, &e, 1, 0) == 1 &&
               (e.events & EPOLLHUP);
}

/* Not done: edge-triggered epoll would not wake us again for what is there, so it is our turn again after the others. A
 * client that is behind wakes us itself, or is dropped. */
static void go_on_later(struct log_stream *s) {
        set_partial(s, true);
        s->partial_since_ns = attach_is_behind(s) ? clock_monotonic_ns() : 0;
}

static void pump_pipe(struct log_stream *s, bool final) {
        size_t used, out;
        ssize_t n;

        for (int round = 0; final || round < PUMP_ROUNDS; round++) {
                if (!final && attach_is_behind(s))
                        break;
                n = peek(s->fd);
                if (n == -EAGAIN || n == -EINTR) {
                        set_partial(s, false);
                        return;
                }
                if (n <= 0) {
                        finish(s);
                        return;
                }
                /* Somebody who looks on wants to see a prompt at once. */
                used = format_entries(s, in_buf, (size_t) n, final || s->attached, &out);
                write_entries(s->file, out);
                attach_feed(s, in_buf, used);
                consume(s->fd, used);
                if (used == 0) {
                        /* An unfinished line stays in the pipe; more bytes will wake us (edge-triggered). */
                        if (writers_gone(s->fd)) {
                                final = true;
                                continue;
                        }
                        set_partial(s, true);
                        return;
                }
                set_partial(s, false);
        }
        go_on_later(s);
}

static void pump_terminal(struct log_stream *s, bool final) {
        size_t used, out, have;
        ssize_t n;

        for (int round = 0; final || round < PUMP_ROUNDS; round++) {
                if (!final && attach_is_behind(s))
                        break;
                have = s->held_len;
                memcpy(in_buf, s->held, have);
                n = read(s->fd, in_buf + have, LOG_CHUNK_MAX);
                if (n < 0 && (errno == EAGAIN || errno == EINTR) && !final)
                        return;
                if (n <= 0) {
                        (void) format_entries(s, in_buf, have, true, &out);
                        write_entries(s->file, out);
                        s->held_len = 0;
                        if (n == 0 || errno != EAGAIN)
                                finish(s);
                        return;
                }
                attach_feed(s, in_buf + have, (size_t) n);
                have += (size_t) n;
                used = format_entries(s, in_buf, have, false, &out);
                write_entries(s->file, out);
                s->held_len = (uint32_t) (have - used);
                memcpy(s->held, in_buf + used, s->held_len);
                set_partial(s, s->held_len > 0);
        }
        go_on_later(s);
}

void log_stream_pump(struct log_stream *s, bool final) {
        if (s->fd < 0 || !s->file->known)
                return;
        if (s->terminal)
                pump_terminal(s, final);
        else
                pump_pipe(s, final);
}

static void on_output(struct source *source, uint32_t events) {
        log_stream_pump((struct log_stream *) source, false);
}

int log_stream_open(struct log_stream *s, struct loop *l, int fd, bool terminal) {
        int r = open_shared();

        s->source.fd = -1;
        s->fd = fd;
        s->loop = l;
        s->terminal = terminal;
        if (r < 0)
                return r;
        if (terminal)
                s->held = xcalloc(1, LOG_CHUNK_MAX + 1);
        (void) fcntl(fd, F_SETFL, O_NONBLOCK);
        return loop_add(l, &s->source, fd, EPOLLIN | EPOLLET, on_output);
}

void log_stream_close(struct log_stream *s, struct loop *l) {
        if (s->fd < 0)
                return;
        set_partial(s, false);
        attach_close_all(s);
        loop_remove(l, &s->source);
        s->fd = fd_close(s->fd);
        free(s->held);
        s->held = NULL;
}

void log_file_set(struct log_file *f, int fd) {
        f->fd = fd_close(f->fd);
        if (fd >= 0)
                cut_torn_line(fd);
        f->fd = fd;
        f->known = true;
        f->failed = false;
}

int log_partial_timeout_ms(void) {
        uint64_t now = clock_monotonic_ns(), due, first = UINT64_MAX;

        for (const struct log_stream *s = partials; s; s = s->next_partial) {
                due = s->partial_since_ns ? s->partial_since_ns + LOG_PARTIAL_MS * 1000000ull : 0;
                first = MIN_OF(first, due);
        }
        if (first == UINT64_MAX)
                return -1;
        return first <= now ? 0 : (int) ((first - now) / 1000000 + 1);
}

/* Writes a held line as it is; for a pipe, all that is in it. */
static void flush(struct log_stream *s) {
        size_t out, used;
        ssize_t n;

        if (s->terminal) {
                (void) format_entries(s, s->held, s->held_len, true, &out);
                write_entries(s->file, out);
                s->held_len = 0;
                return;
        }
        n = peek(s->fd);
        if (n <= 0)
                return;
        used = format_entries(s, in_buf, (size_t) n, true, &out);
        write_entries(s->file, out);
        attach_feed(s, in_buf, used);
        consume(s->fd, used);
}

void log_flush_partial(void) {
        uint64_t now = clock_monotonic_ns();
        struct log_stream *due[64];
        size_t n = 0;

        for (struct log_stream *s = partials; s && n < ELEMENTSOF(due); s = s->next_partial)
                if (!s->partial_since_ns || now >= s->partial_since_ns + LOG_PARTIAL_MS * 1000000ull)
                        due[n++] = s;
        for (size_t i = 0; i < n; i++) {
                bool more = due[i]->partial_since_ns == 0;

                set_partial(due[i], false);
                attach_drop_stalled(due[i]);
                if (!more && !attach_is_behind(due[i]))
                        flush(due[i]);
                log_stream_pump(due[i], false);
        }
}
