/* SPDX-License-Identifier: Apache-2.0 */
/* spdy - one SPDY/3.1 connection as Kubernetes uses it, the server's side: streams that the client opens, no flow
 * control (peers never send WINDOW_UPDATE, so whoever reads too slowly stops the connection). Bytes in, bytes out; no
 * I/O. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/strbuf.h"
#include "streaming/spdy-headers.h"

enum {
        SPDY_FRAME_HEAD = 8,
        SPDY_CONTROL_MAX = 16 * 1024, /* a control frame that has to be understood */
        SPDY_DATA_MAX = (1 << 24) - 1,
};

enum spdy_status {
        SPDY_PROTOCOL_ERROR = 1,
        SPDY_INVALID_STREAM = 2,
        SPDY_REFUSED_STREAM = 3,
        SPDY_UNSUPPORTED_VERSION = 4,
        SPDY_CANCEL = 5,
        SPDY_INTERNAL_ERROR = 6,
        SPDY_ALREADY_CLOSED = 9,
};

enum { SPDY_GOAWAY_OK = 0, SPDY_GOAWAY_PROTOCOL_ERROR = 1 };

struct spdy_handler {
        /* A stream wants to be opened: spdy_reply() or spdy_reset() it, now or later. */
        void (*opened)(void *userdata, uint32_t id, const struct spdy_headers *headers);
        void (*data)(void *userdata, uint32_t id, const uint8_t *data, size_t len);
        /* The client sends no more on it; @reset: nor does it want more. */
        void (*ended)(void *userdata, uint32_t id, bool reset);
        /* The client is about to go. */
        void (*goaway)(void *userdata);
        /* Bytes for the client. */
        void (*write)(void *userdata, const void *data, size_t len);
};

struct spdy_stream {
        uint32_t id;
        bool replied;
        bool local_closed;  /* we have sent FIN */
        bool remote_closed; /* the client has */
};

struct spdy {
        const struct spdy_handler *handler;
        void *userdata;
        size_t max_streams;

        uint8_t head[SPDY_FRAME_HEAD];
        size_t head_len;
        bool in_frame;
        uint32_t left;         /* of the frame's payload */
        struct strbuf control; /* payload of a control frame that matters */
        bool is_kept;          /* this frame's payload goes there */

        struct spdy_inflater *inflater; /* made with the first header block */
        struct strbuf block;
        bool has_replied;
        uint32_t last_id;
        struct spdy_stream *streams; /* those not over, by id */
        size_t n_streams, cap_streams;
};

void spdy_init(struct spdy *s, size_t max_streams, const struct spdy_handler *handler, void *userdata);
void spdy_done(struct spdy *s);

/* An error is the connection's end: say spdy_goaway(PROTOCOL_ERROR) and close. */
_must_use_ int spdy_feed(struct spdy *s, const uint8_t *data, size_t len, struct err *err);

/* All of these ignore streams that are over. */
void spdy_reply(struct spdy *s, uint32_t id);
void spdy_send(struct spdy *s, uint32_t id, const void *data, size_t len);
void spdy_fin(struct spdy *s, uint32_t id);
void spdy_reset(struct spdy *s, uint32_t id, enum spdy_status status);

void spdy_goaway(struct spdy *s, uint32_t status);
/* RST_STREAM(CANCEL) for what is not over, then GOAWAY. */
void spdy_close(struct spdy *s);
