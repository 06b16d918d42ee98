/* SPDX-License-Identifier: Apache-2.0 */
/* server - gRPC over HTTP/2 on a unix socket: nghttp2 for frames, protobuf-c for messages.
 * Connections, framing, deadlines and limits live on the loop thread; unary handlers run on a worker pool as
 * straight-line code that may block. Proven against grpcio and grpc-go by tests/integration.
 * Wire: github.com/grpc/grpc doc/PROTOCOL-HTTP2.md. */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/pool.h"

struct grpc_server; /* owned by the loop thread */
struct grpc_call;   /* one RPC being served; valid until its handler returns */

/* A unary method. Runs on the method's pool. The request lives in the call's arena; build the response there too
 * (grpc_call_arena) and set @ret to it. On failure return -code with @err filled: it becomes the gRPC status and
 * message. Handlers that can take long poll grpc_call_cancelled() or wait on grpc_call_cancel_fd(). */
typedef int (*grpc_unary_fn)(struct grpc_call *call, const ProtobufCMessage *request, ProtobufCMessage **ret,
                             void *userdata, struct err *err);

/* A server-streaming method: runs on the method's pool and sends with grpc_call_send() until it returns; the
 * return value ends the stream (0: OK). */
typedef int (*grpc_stream_fn)(struct grpc_call *call, const ProtobufCMessage *request, void *userdata, struct err *err);

struct grpc_method {
        const char *path; /* "/runtime.v1.RuntimeService/Version" */
        const ProtobufCMessageDescriptor *request;
        grpc_unary_fn unary; /* exactly one of unary and stream */
        grpc_stream_fn stream;
        struct pool *pool; /* NULL: the server's default pool */
        void *userdata;
        /* Unary only: runs on the loop thread, without a hop to the pool. The handler promises not to block, not even
         * on a lock that is held for long. */
        bool inline_call;
};

struct grpc_server_args {
        sd_event *loop;
        int listen_fd;                     /* taken on success */
        struct pool *pool;                 /* default pool for handlers */
        const struct grpc_method *methods; /* copied */
        size_t n_methods;
        /* 0 means the default in parentheses. */
        size_t max_message_bytes;    /* (16 MiB), per message, after decompression */
        size_t max_connections;      /* (256) */
        size_t max_streams;          /* (1024) calls in progress, per connection; REFUSED_STREAM beyond */
        size_t max_header_bytes;     /* (16 KiB) per request */
        size_t max_connection_bytes; /* (64 MiB) buffered requests and responses of one connection */
};

_must_use_ int grpc_server_new(const struct grpc_server_args *args, struct grpc_server **ret, struct err *err);
/* Stop accepting, send GOAWAY, end kept calls with UNAVAILABLE; @done is called on the loop when the last RPC has ended
 * or @timeout_ms passed. */
void grpc_server_shutdown(struct grpc_server *s, uint64_t timeout_ms, void (*done)(void *userdata), void *userdata);
/* After shutdown's done (or in it). Closes what is left and cancels handlers that still run; they keep what they need
 * of the server, so free the pools and what "userdata" points to after it. */
struct grpc_server *grpc_server_free(struct grpc_server *s);
DEFINE_CLEANUP(struct grpc_server *, grpc_server_free)

/* For handlers, from the pool thread. */
struct arena *grpc_call_arena(struct grpc_call *call);
bool grpc_call_cancelled(struct grpc_call *call); /* the client went away or the deadline passed */
/* Fills @err with CANCELLED or DEADLINE_EXCEEDED. Call it when grpc_call_cancelled(). */
int grpc_call_cancel_err(struct grpc_call *call, struct err *err);
int grpc_call_cancel_fd(struct grpc_call *call); /* becomes readable when cancelled; borrowed; -1: no descriptor left */
/* A copy of descriptor @number of the process at the other end, which waits for its answer. Its files are thus opened
 * as it sees them, and pipes work. ERR_INVALID: it has no such descriptor. */
_must_use_ int grpc_call_take_fd(struct grpc_call *call, int number, int *ret, struct err *err);
uint64_t grpc_call_deadline_ns(struct grpc_call *call); /* CLOCK_MONOTONIC, UINT64_MAX: none */
/* Server streaming: blocks while the peer's window is full (bounded buffer), for a minute at most, then ERR_EXHAUSTED.
 * ERR_CANCELLED when the stream is gone. */
_must_use_ int grpc_call_send(struct grpc_call *call, const ProtobufCMessage *message, struct err *err);
/* Server streaming, never waits. ERR_EXHAUSTED when the peer has not taken @max_bytes of what was sent before (0: the
 * most that one connection may hold); a message of any size goes to a peer that is up to date. */
_must_use_ int grpc_call_post(struct grpc_call *call, const ProtobufCMessage *message, size_t max_bytes,
                              struct err *err);

/* Server streaming: the call goes on after its handler has returned 0, without a thread, until grpc_call_end(). The
 * response's headers go out at once. From here on any thread may call grpc_call_post() and, once, grpc_call_end().
 * @cancelled is called on the loop thread, at most once, when nobody waits any more (the client is gone, the deadline
 * has passed, the server shuts down), possibly at the same time as grpc_call_end() elsewhere; @userdata must outlive
 * the server. On failure (ERR_CANCELLED, ERR_DEADLINE, ERR_UNAVAILABLE) nothing was kept: return it. */
typedef void (*grpc_cancelled_fn)(struct grpc_call *call, void *userdata);
_must_use_ int grpc_call_keep(struct grpc_call *call, grpc_cancelled_fn cancelled, void *userdata, struct err *err);
/* Ends a kept call with @verdict's code and message, NULL: OK. What was posted before still goes out. @call is invalid
 * afterwards. */
void grpc_call_end(struct grpc_call *call, const struct err *verdict);
