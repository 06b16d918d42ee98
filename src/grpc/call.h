/* SPDX-License-Identifier: Apache-2.0 */
/* call - one RPC being served. The loop thread owns its stream, a handler's thread its run; each holds a reference.
 * Private to grpc/. */
#pragma once
#include <stdint.h>
#include <sys/types.h>
#include "grpc/frame.h"
#include "grpc/hub.h"
#include "grpc/request.h"

struct conn;

/* Bytes on their way to the peer: prefix and packed message. */
struct chunk {
        struct chunk *next;
        size_t len, sent;
        uint8_t data[];
};
struct chunk *chunk_free(struct chunk *c); /* the whole list */

struct grpc_call {
        atomic_uint refs;
        struct hub *hub;

        /* Set before the handler starts, then only read. */
        const struct grpc_method *method;
        uint64_t deadline_ns;      /* UINT64_MAX: none */
        pid_t peer_pid;            /* 0: unknown */
        struct frame_parser frame; /* the request; the handler's thread frees its body */

        /* The handler's thread. */
        struct arena *arena;

        /* Shared, below the hub's lock. */
        struct grpc_call *next_ready;
        bool is_ready, finished;
        struct chunk *posted, **posted_tail;
        size_t posted_bytes; /* in "posted" */
        size_t queued_bytes; /* all that the peer has not got yet: what the handler waits for */
        pthread_cond_t room;
        int cancel_fd;
        /* A call that was kept is finished when its handler has returned and it was ended. */
        bool kept, returned, ended;
        struct err end;
        grpc_cancelled_fn on_cancelled;
        void *cancelled_userdata;

        atomic_int cancelled; /* ERR_OK, ERR_CANCELLED or ERR_DEADLINE */

        /* Written by the handler's thread before "finished", read by the loop after. */
        struct err result;

        /* The loop thread. */
        struct conn *conn;             /* NULL: the connection is gone */
        struct grpc_call *prev, *next; /* of the connection */
        int32_t stream_id;             /* 0: the stream is gone, its handler runs on */
        struct request request;
        uint64_t give_up_ns;              /* the peer must have sent its request, or taken our answer, by then */
        size_t request_bytes, held_bytes; /* of the request and of "out"; counted in the connection's total */
        struct chunk *out, **out_tail;
        const struct err *verdict; /* how it ended; NULL: it goes on */
        bool dispatched, answered;
};

struct grpc_call *call_new(struct hub *hub);
struct grpc_call *call_ref(struct grpc_call *c);
struct grpc_call *call_unref(struct grpc_call *c);

/* Loop thread. Tell the handler that nobody waits any more; the first reason stays. */
void call_cancel(struct grpc_call *c, enum err_code why);
/* Loop thread: does it go on without a handler? */
bool call_is_kept(struct grpc_call *c);

/* Loop thread: run the handler, here or on its pool. When it ran here the result is in @c and true is returned through
 * @ret_done; chunks are posted in both cases. ERR_EXHAUSTED when the pool's queue is full. */
_must_use_ int call_dispatch(struct grpc_call *c, bool *ret_done, struct err *err);

/* Loop thread: @bytes have gone to the peer or are dropped; a handler that waits for room goes on. */
void call_sent(struct grpc_call *c, size_t bytes);
