/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "base/str.h"
#include "streaming/server.h"

enum {
        /* Reads in a row, so that no stream keeps the others waiting. */
        MAX_READS = 4,
        /* What a draining source may still have: the longest pipe there is. Others may go on writing to it. */
        DRAIN_MAX = 1024 * 1024,
        /* Of one sink: what waits when the client is paused, the piece that made it so, and what is written already. */
        SINK_MAX = CLIENT_IN_HIGH + SERVER_BUFFER_BYTES + QUEUE_COMPACT_BYTES,
};

static int set_nonblocking(int fd, struct err *err) {
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
                return err_sys(err, errno, "set up a stream");
        return 0;
}

/* ---- sources ---- */

static void end_source(struct source *s) {
        source_close(s);
        s->ended(s->userdata);
}

/* Read what there is, as long as the client takes it. May end it. */
static void run_source(struct source *s) {
        uint8_t *buffer = s->client->server->source_buffer;

        for (unsigned i = 0; i < MAX_READS || s->is_draining; i++) {
                ssize_t n;

                if (!client_has_room(s->client))
                        return;
                n = read(s->fd, buffer, WIRE_PIECE_MAX);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN && !s->is_draining)
                        return;
                /* EIO: a terminal that nobody has open on its other side. */
                if (n <= 0 || (s->is_draining && (size_t) n > s->drain_left)) {
                        end_source(s);
                        return;
                }
                s->drain_left -= s->is_draining ? (size_t) n : 0;
                s->used_ns = s->client->used_ns = clock_monotonic_ns();
                if (!s->is_muted)
                        wire_send(&s->client->wire, s->channel, buffer, (size_t) n);
                if (queue_len(&s->client->out) >= CLIENT_OUT_HIGH)
                        s->client->out_paused = true;
                if (n < WIRE_PIECE_MAX && !s->is_draining)
                        return;
        }
}

static int on_source(sd_event_source *io, int fd, uint32_t revents, void *userdata) {
        struct source *s = userdata;
        struct client *c = s->client;

        run_source(s);
        (void) client_settle(c);
        return 0;
}

int source_open(struct source *s, struct client *c, int fd, uint32_t channel, struct err *err) {
        _cleanup_(fd_closep) int own = fd;
        int r = set_nonblocking(own, err);

        s->fd = -1;
        if (r < 0)
                return r;
        r = sd_event_add_io(c->server->loop, &s->io, own, EPOLLIN, on_source, s);
        if (r < 0)
                return err_sys(err, -r, "watch a stream");
        s->client = c;
        s->fd = TAKE_FD(own);
        s->channel = channel;
        s->is_enabled = true;
        s->used_ns = clock_monotonic_ns();
        s->prev = NULL;
        s->next = c->sources;
        if (c->sources)
                c->sources->prev = s;
        c->sources = s;
        source_update(s);
        return 0;
}

void source_close(struct source *s) {
        if (s->fd < 0)
                return;
        s->io = sd_event_source_disable_unref(s->io);
        s->fd = fd_close(s->fd);
        if (s->prev)
                s->prev->next = s->next;
        else
                s->client->sources = s->next;
        if (s->next)
                s->next->prev = s->prev;
        s->prev = s->next = NULL;
}

void source_drain(struct source *s) {
        if (s->fd < 0)
                return;
        s->is_draining = true;
        s->drain_left = DRAIN_MAX;
        run_source(s);
}

void source_update(struct source *s) {
        bool want = client_has_room(s->client);

        if (s->is_enabled != want) {
                s->is_enabled = want;
                (void) sd_event_source_set_enabled(s->io, want ? SD_EVENT_ON : SD_EVENT_OFF);
        }
        if (s->is_draining)
                run_source(s);
}

/* ---- sinks ---- */

void sink_init(struct sink *s, struct client *c, void (*ended)(void *userdata), void *userdata) {
        *s = (struct sink){
                .client = c,
                .fd = -1,
                .ended = ended,
                .userdata = userdata,
                .waiting = QUEUE(SINK_MAX),
        };
}

static void drop_waiting(struct sink *s) {
        s->client->in_waiting -= queue_len(&s->waiting);
        queue_done(&s->waiting);
}

void sink_close(struct sink *s) {
        if (!s->client)
                return;
        drop_waiting(s);
        s->io = sd_event_source_disable_unref(s->io);
        /* The other direction has a descriptor of its own. */
        if (s->fd >= 0 && s->is_socket)
                (void) shutdown(s->fd, SHUT_WR);
        s->fd = fd_close(s->fd);
        s->is_closed = true;
}

static void end_sink(struct sink *s) {
        sink_close(s);
        s->ended(s->userdata);
}

/* Write what the descriptor takes. False when it takes nothing ever again. */
static bool write_out(struct sink *s, const uint8_t *data, size_t len, size_t *ret_written) {
        *ret_written = 0;
        while (*ret_written < len) {
                ssize_t n = write(s->fd, data + *ret_written, len - *ret_written);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN;
                *ret_written += (size_t) n;
                s->client->used_ns = clock_monotonic_ns();
        }
        return true;
}

/* Wait for room when there is something to write; else only for the reader to go, where that can be told: a terminal
 * says so as long as nobody has its other side open, which may change. */
static void watch_sink(struct sink *s) {
        bool has_waiting = queue_len(&s->waiting) > 0;

        if (s->is_enabled == has_waiting)
                return;
        s->is_enabled = has_waiting;
        if (s->can_hang_up)
                (void) sd_event_source_set_io_events(s->io, has_waiting ? EPOLLOUT : 0);
        else
                (void) sd_event_source_set_enabled(s->io, has_waiting ? SD_EVENT_ON : SD_EVENT_OFF);
}

/* May end it. */
static void run_sink(struct sink *s) {
        size_t n;

        if (queue_len(&s->waiting)) {
                if (!write_out(s, queue_front(&s->waiting), queue_len(&s->waiting), &n)) {
                        end_sink(s);
                        return;
                }
                queue_consume(&s->waiting, n);
                s->client->in_waiting -= n;
        }
        if (!queue_len(&s->waiting) && s->is_ending) {
                end_sink(s);
                return;
        }
        watch_sink(s);
}

static int on_sink(sd_event_source *io, int fd, uint32_t revents, void *userdata) {
        struct sink *s = userdata;
        struct client *c = s->client;

        if (!queue_len(&s->waiting) && revents & (EPOLLERR | EPOLLHUP))
                end_sink(s);
        else
                run_sink(s);
        (void) client_settle(c);
        return 0;
}

int sink_open(struct sink *s, int fd, struct err *err) {
        _cleanup_(fd_closep) int own = fd;
        struct stat st;
        int r;

        if (s->is_closed)
                return 0;
        if (fstat(own, &st) < 0)
                return err_sys(err, errno, "look at a stream");
        r = set_nonblocking(own, err);
        if (r < 0)
                return r;
        r = sd_event_add_io(s->client->server->loop, &s->io, own, EPOLLOUT, on_sink, s);
        if (r < 0)
                return err_sys(err, -r, "watch a stream");
        s->is_enabled = true;
        s->is_socket = S_ISSOCK(st.st_mode);
        s->can_hang_up = s->is_socket || S_ISFIFO(st.st_mode);
        s->fd = TAKE_FD(own);
        run_sink(s);
        return 0;
}

void sink_write(struct sink *s, const uint8_t *data, size_t len) {
        size_t n = 0;

        if (s->is_closed || s->is_ending)
                return;
        if (s->fd >= 0 && !queue_len(&s->waiting) && !write_out(s, data, len, &n)) {
                end_sink(s);
                return;
        }
        if (n == len)
                return;
        queue_append(&s->waiting, data + n, len - n);
        if (queue_overflow(&s->waiting)) {
                client_fail(s->client);
                return;
        }
        s->client->in_waiting += len - n;
        if (s->fd >= 0)
                watch_sink(s);
}

void sink_end(struct sink *s) {
        if (s->is_closed)
                return;
        s->is_ending = true;
        if (s->fd >= 0)
                run_sink(s);
}
