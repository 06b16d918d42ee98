/* SPDX-License-Identifier: Apache-2.0 */
/* hub - what the loop thread and the handlers' threads share: methods, limits, and the queue of calls that have
 * something for the loop. Counted: a handler that outlives the server still finds it. Private to grpc/. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "grpc/server.h"

struct chunk;

struct hub {
        atomic_uint refs;
        struct grpc_method *methods; /* sorted by path */
        size_t n_methods;
        struct pool *pool; /* NULL: everything runs inline (fuzzers) */
        struct {
                size_t message_bytes, connections, streams, header_bytes, connection_bytes;
        } max;

        size_t running;       /* handlers on threads that have not been taken back; the loop thread's */
        int wake_fd;          /* eventfd: readable when "ready" became non-empty */
        pthread_mutex_t lock; /* of what follows, and of each call's shared part */
        struct grpc_call *ready, **ready_tail;
        bool stopping; /* no more calls may be kept */
        bool closed;   /* the server is gone: nobody takes from the queue */
};

/* Copies the methods and limits of @args. */
_must_use_ int hub_new(const struct grpc_server_args *args, struct hub **ret, struct err *err);
struct hub *hub_ref(struct hub *h);
struct hub *hub_unref(struct hub *h);
DEFINE_CLEANUP(struct hub *, hub_unref)

const struct grpc_method *hub_find_method(const struct hub *h, const char *path);

/* Any thread, with the lock held: queue @call unless it is queued. */
void hub_post_locked(struct hub *h, struct grpc_call *call);

struct hub_item {
        struct grpc_call *call;
        struct chunk *chunks; /* posted since; owned by the taker */
        size_t bytes;
        bool finished; /* the handler has returned, its result is in the call, its reference is the taker's */
};

/* Loop thread: the next call that has something, or false. */
_must_use_ bool hub_take(struct hub *h, struct hub_item *ret);
/* Loop thread: what a call that ran inline has; its reference is not the taker's. */
void hub_take_inline(struct hub *h, struct grpc_call *call, struct hub_item *ret);
/* Loop thread: the server shuts down; grpc_call_keep() is refused from here on. */
void hub_stop(struct hub *h);
/* Loop thread: no more will be taken; handlers that finish later drop their calls themselves. */
void hub_close(struct hub *h);
