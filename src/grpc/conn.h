/* SPDX-License-Identifier: Apache-2.0 */
/* conn - one HTTP/2 connection of a client: bytes in, bytes out, calls in between. No I/O and no clock, so that tables
 * and fuzzers can drive it; server.c has the socket. Loop thread only. Private to grpc/. */
#pragma once
#include <nghttp2/nghttp2.h>
#include <sys/types.h>
#include "grpc/call.h"

/* How long a client may leave an answer that is complete where it is. */
#define CONN_ANSWER_NS UINT64_C(60000000000)

struct conn {
        struct hub *hub;
        nghttp2_session *session;
        void *owner;             /* for the server: whose connection this is */
        pid_t peer_pid;          /* who connected; 0: unknown */
        struct grpc_call *calls; /* all that are not over, each with a reference */
        size_t n_calls;
        size_t held_bytes;    /* requests and answers in memory */
        uint64_t now_ns;      /* of the current entry */
        uint64_t hello_by_ns; /* the client's SETTINGS must have come by then; UINT64_MAX: they have */
        uint64_t wake_ns;     /* call conn_tick() then at the latest */
};

/* @now_ns: CLOCK_MONOTONIC, here and below. */
_must_use_ int conn_new(struct hub *hub, uint64_t now_ns, struct conn **ret, struct err *err);
/* Cancels what is being served. */
struct conn *conn_free(struct conn *c);
DEFINE_CLEANUP(struct conn *, conn_free)

/* Bytes from the client. False: the connection is beyond repair, close it. */
_must_use_ bool conn_feed(struct conn *c, const void *data, size_t len, uint64_t now_ns);
/* The next bytes for the client, valid until the next call; 0: none for now, -1: close the connection. */
_must_use_ ssize_t conn_pull(struct conn *c, uint64_t now_ns, const uint8_t **ret);
/* Nothing is left to read or write: close it. */
_must_use_ bool conn_is_over(struct conn *c);

/* Takes the item, whose call may have lost its connection. */
void conn_deliver(struct hub_item *item, uint64_t now_ns);

/* End what is overdue; sets wake_ns anew. False: close the connection. */
_must_use_ bool conn_tick(struct conn *c, uint64_t now_ns);

/* No new calls; those in progress go on, save the ones that were kept (grpc_call_keep()). */
void conn_go_away(struct conn *c);
