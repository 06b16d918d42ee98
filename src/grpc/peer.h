/* SPDX-License-Identifier: Apache-2.0 */
/* peer - the socket of a connection: reads into it, writes out of it, at once where the socket takes it. Loop thread
 * only. Private to grpc/. */
#pragma once
#include <systemd/sd-event.h>
#include "base/strbuf.h"
#include "grpc/conn.h"

enum { PEER_BUFFER_BYTES = 64 * 1024 };

struct peer {
        struct conn *conn;
        int fd;
        struct grpc_server *server; /* for the server's handler */
        sd_event_source *io;
        uint32_t events;
        struct strbuf unsent; /* empty, and without memory, unless the socket is full */
        uint64_t stall_by_ns; /* the socket must have taken something by then; UINT64_MAX: it is not full */
        uint64_t used_ns;     /* last read */
        struct peer *prev, *next, *next_dirty;
        bool is_dirty;
};

/* Takes @fd on success. @on_io gets the peer as its userdata. */
_must_use_ int peer_new(struct hub *hub, sd_event *loop, int fd, sd_event_io_handler_t on_io,
                        struct grpc_server *server, struct peer **ret, struct err *err);
struct peer *peer_free(struct peer *p);
DEFINE_CLEANUP(struct peer *, peer_free)

/* Both return false when the connection is over, for good or ill: free the peer. @buffer: PEER_BUFFER_BYTES. */
_must_use_ bool peer_read(struct peer *p, uint8_t *buffer);
_must_use_ bool peer_flush(struct peer *p, uint8_t *buffer);

/* When something of it is due. */
static inline uint64_t peer_wake_ns(const struct peer *p) {
        return MIN_OF(p->conn->wake_ns, p->stall_by_ns);
}
