/* SPDX-License-Identifier: Apache-2.0 */
/* wire - what a connection speaks after the upgrade, as channels: SPDY's streams, WebSocket's numbered channels (binary
 * or base64), or SPDY inside WebSocket messages. Bytes in, bytes out; no I/O. */
#pragma once
#include "base/base64.h"
#include "streaming/queue.h"
#include "streaming/spdy.h"
#include "streaming/websocket.h"

enum wire_kind {
        WIRE_SPDY,
        WIRE_TUNNEL,   /* SPDY in WebSocket messages */
        WIRE_CHANNELS, /* WebSocket messages: a byte that says which channel, and what goes there */
        WIRE_BASE64,   /* the same as text: a digit, and base64 */
};

enum {
        /* The longest piece that is sent at once, and fed at once. */
        WIRE_PIECE_MAX = 32 * 1024,
        WIRE_CLOSE_CHANNEL = 255,
};

struct wire_handler {
        /* SPDY only: wire_accept() or wire_reset() it. */
        void (*opened)(void *userdata, uint32_t channel, const struct spdy_headers *headers);
        void (*data)(void *userdata, uint32_t channel, const uint8_t *data, size_t len);
        /* The client sends no more there; @reset: nor does it want more. */
        void (*ended)(void *userdata, uint32_t channel, bool reset);
};

struct wire {
        enum wire_kind kind;
        bool has_close_channel; /* v5 */
        const struct wire_handler *handler;
        void *userdata;
        struct queue *out;
        struct spdy spdy;
        struct websocket ws;

        /* The WebSocket message that is coming in. */
        bool has_channel;
        uint8_t channel;
        struct base64_decoder base64;

        bool peer_is_gone; /* it has said so: what it sent is all that comes */
        bool is_closed;    /* we have said so */
};

/* @out: where bytes for the client go. */
void wire_init(struct wire *w, enum wire_kind kind, bool has_close_channel, size_t max_streams, struct queue *out,
               const struct wire_handler *handler, void *userdata);
void wire_done(struct wire *w);

/* At most WIRE_PIECE_MAX bytes, which are changed on the way. False when the connection is beyond repair; what is to be
 * said about that is in the queue. */
_must_use_ bool wire_feed(struct wire *w, uint8_t *data, size_t len);

/* All of these ignore channels that are over. wire_fin(), wire_accept() and wire_reset() say nothing to WebSocket
 * clients, who have no such notions. */
void wire_accept(struct wire *w, uint32_t channel);
void wire_send(struct wire *w, uint32_t channel, const void *data, size_t len);
void wire_fin(struct wire *w, uint32_t channel);
void wire_reset(struct wire *w, uint32_t channel, enum spdy_status status);

/* Take leave; nothing can be said afterwards. */
void wire_close(struct wire *w);
/* Tell a client that waits for our pongs, while nothing of it is read, that we are here. */
void wire_keepalive(struct wire *w);

static inline bool wire_is_spdy(const struct wire *w) {
        return w->kind == WIRE_SPDY || w->kind == WIRE_TUNNEL;
}
