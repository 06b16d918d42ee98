/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/peer.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "base/alloc.h"
#include "base/str.h"

static const uint64_t STALL_NS = UINT64_C(60000000000);

enum {
        /* Reads in a row, so that one peer doesn't keep the others waiting. */
        MAX_READS = 4,
        /* One frame and what was gathered before it. */
        MAX_UNSENT_BYTES = 2 * PEER_BUFFER_BYTES,
};

int peer_new(struct hub *hub, sd_event *loop, int fd, sd_event_io_handler_t on_io, struct grpc_server *server,
             struct peer **ret, struct err *err) {
        _cleanup_(peer_freep) struct peer *p = xnew(struct peer);
        struct ucred who;
        socklen_t who_len = sizeof(who);
        int r;

        p->fd = -1;
        p->server = server;
        p->unsent = STRBUF(MAX_UNSENT_BYTES);
        p->stall_by_ns = UINT64_MAX;
        p->events = EPOLLIN;
        p->used_ns = clock_monotonic_ns();
        r = conn_new(hub, p->used_ns, &p->conn, err);
        if (r < 0)
                return r;
        p->conn->owner = p;
        p->conn->peer_pid = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &who_len) == 0 ? who.pid : 0;
        r = sd_event_add_io(loop, &p->io, fd, p->events, on_io, p);
        if (r < 0)
                return err_sys(err, -r, "watch a connection");
        p->fd = fd;
        *ret = TAKE_PTR(p);
        return 0;
}

struct peer *peer_free(struct peer *p) {
        if (!p)
                return NULL;
        p->conn = conn_free(p->conn);
        p->io = sd_event_source_disable_unref(p->io);
        p->fd = fd_close(p->fd);
        strbuf_done(&p->unsent);
        free(p);
        return NULL;
}

bool peer_read(struct peer *p, uint8_t *buffer) {
        for (unsigned i = 0; i < MAX_READS; i++) {
                ssize_t n = recv(p->fd, buffer, PEER_BUFFER_BYTES, MSG_DONTWAIT);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN;
                if (n == 0)
                        return false;
                p->used_ns = clock_monotonic_ns();
                if (!conn_feed(p->conn, buffer, (size_t) n, p->used_ns))
                        return false;
                if (n < PEER_BUFFER_BYTES)
                        break;
        }
        return true;
}

static bool watch(struct peer *p, uint32_t events) {
        if (p->events == events)
                return true;
        p->events = events;
        return sd_event_source_set_io_events(p->io, events) >= 0;
}

/* Send @iov; what the socket doesn't take goes to "unsent". */
static bool send_or_keep(struct peer *p, struct iovec iov[2]) {
        struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
        ssize_t n;

        do
                n = sendmsg(p->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0 && errno != EAGAIN)
                return false;
        for (size_t i = 0, sent = n < 0 ? 0 : (size_t) n; i < 2; i++) {
                size_t part = MIN_OF(sent, iov[i].iov_len);
                sent -= part;
                if (part < iov[i].iov_len)
                        strbuf_append(&p->unsent, (uint8_t *) iov[i].iov_base + part, iov[i].iov_len - part);
        }
        return !p->unsent.overflow;
}

static bool send_unsent(struct peer *p) {
        ssize_t n;

        if (!p->unsent.len)
                return true;
        do
                n = send(p->fd, p->unsent.data, p->unsent.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return errno == EAGAIN;
        p->stall_by_ns = clock_monotonic_ns() + STALL_NS;
        strbuf_consume(&p->unsent, (size_t) n);
        return true;
}

/* Gather frames into @buffer; the one that doesn't fit is sent from where it is. */
static bool send_frames(struct peer *p, uint8_t *buffer, bool *ret_more) {
        struct iovec iov[2] = { { .iov_base = buffer }, { 0 } };
        uint64_t now_ns = clock_monotonic_ns();
        const uint8_t *data;
        ssize_t n;

        while ((n = conn_pull(p->conn, now_ns, &data)) > 0) {
                if (iov[0].iov_len + (size_t) n > PEER_BUFFER_BYTES) {
                        iov[1] = (struct iovec){ .iov_base = (void *) (uintptr_t) data, .iov_len = (size_t) n };
                        break;
                }
                memcpy(buffer + iov[0].iov_len, data, (size_t) n);
                iov[0].iov_len += (size_t) n;
        }
        *ret_more = n > 0;
        if (n < 0)
                return false;
        return iov[0].iov_len == 0 || send_or_keep(p, iov);
}

bool peer_flush(struct peer *p, uint8_t *buffer) {
        bool more = true;

        if (!send_unsent(p))
                return false;
        while (more && !p->unsent.len)
                if (!send_frames(p, buffer, &more))
                        return false;
        if (p->unsent.len) {
                /* Nothing is read while nothing can be written: whoever makes us answer has to take the answers. */
                if (p->stall_by_ns == UINT64_MAX)
                        p->stall_by_ns = clock_monotonic_ns() + STALL_NS;
                return watch(p, EPOLLOUT);
        }
        p->stall_by_ns = UINT64_MAX;
        strbuf_done(&p->unsent);
        return !conn_is_over(p->conn) && watch(p, EPOLLIN);
}
