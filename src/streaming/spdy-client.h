/* SPDX-License-Identifier: Apache-2.0 */
/* spdy-client - one SPDY/3.1 connection as Kubernetes uses it, the client's side, for the command line: it opens all
 * streams, and reads no headers of the server's, which are empty. No I/O. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "streaming/queue.h"
#include "streaming/spdy.h"

enum { SPDY_CLIENT_STREAMS_MAX = 8, SPDY_CLIENT_PIECE_MAX = 32 * 1024 };

struct spdy_client_handler {
        void (*opened)(void *userdata, uint32_t id); /* the server has taken the stream: it may be written to */
        void (*data)(void *userdata, uint32_t id, const uint8_t *data, size_t len);
        void (*ended)(void *userdata, uint32_t id); /* nothing more comes on it */
};

struct spdy_client {
        const struct spdy_client_handler *handler;
        void *userdata;
        struct queue *out;
        uint32_t last_id;
        bool ended[SPDY_CLIENT_STREAMS_MAX]; /* by the server */
        bool is_gone;                        /* GOAWAY came */

        uint8_t head[SPDY_FRAME_HEAD];
        size_t head_len;
        bool in_frame;
        uint32_t left;      /* of the frame's payload */
        uint8_t control[8]; /* as much of a control frame as matters */
        size_t control_len;
};

/* @out: where bytes for the server go; its maximum is the caller's. */
void spdy_client_init(struct spdy_client *c, struct queue *out, const struct spdy_client_handler *handler,
                      void *userdata);
/* A new stream. @headers: name, value, name, ..., NULL; small ones of our own. Returns its id. */
uint32_t spdy_client_open(struct spdy_client *c, const char *const *headers);
/* @len is at most SPDY_CLIENT_PIECE_MAX. */
void spdy_client_send(struct spdy_client *c, uint32_t id, const void *data, size_t len);
void spdy_client_fin(struct spdy_client *c, uint32_t id); /* we send no more */

/* An error is the connection's end. */
_must_use_ int spdy_client_feed(struct spdy_client *c, const uint8_t *data, size_t len, struct err *err);
