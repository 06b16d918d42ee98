/* SPDX-License-Identifier: Apache-2.0 */
/* websocket - RFC 6455 frames, the server's side: taken apart as they come, never gathered. No I/O. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/attr.h"

enum {
        WEBSOCKET_HEAD_MAX = 14, /* of the client's frames: 2 + 8 of length + 4 of mask */
        WEBSOCKET_CONTROL_MAX = 125,
        WEBSOCKET_OUR_HEAD_MAX = 10, /* ours have no mask */
};

enum websocket_opcode {
        WEBSOCKET_CONTINUATION = 0,
        WEBSOCKET_TEXT = 1,
        WEBSOCKET_BINARY = 2,
        WEBSOCKET_CLOSE = 8,
        WEBSOCKET_PING = 9,
        WEBSOCKET_PONG = 10,
};

enum websocket_status {
        WEBSOCKET_NORMAL = 1000,
        WEBSOCKET_GOING_AWAY = 1001,
        WEBSOCKET_PROTOCOL_ERROR = 1002,
        WEBSOCKET_BAD_DATA = 1007,
        WEBSOCKET_INTERNAL_ERROR = 1011,
};

struct websocket_handler {
        /* A piece of a message; @start and @end mark its borders. Returns 0 or a status to close with. */
        int (*data)(void *userdata, const uint8_t *data, size_t len, bool start, bool end);
        void (*ping)(void *userdata, const uint8_t *data, size_t len);
        /* Nothing comes after it. @status 0: the client gave none. */
        void (*close)(void *userdata, unsigned status);
};

struct websocket {
        const struct websocket_handler *handler;
        void *userdata;

        uint8_t head[WEBSOCKET_HEAD_MAX];
        size_t head_len;
        bool in_payload;
        uint64_t left; /* of the payload */
        uint8_t mask[4];
        unsigned mask_at;
        enum websocket_opcode opcode;
        bool fin;
        bool in_message; /* a message's first frame has come, its last one has not */
        bool starts;     /* nothing of this message has been handed on */
        uint8_t control[WEBSOCKET_CONTROL_MAX];
        size_t control_len;
        bool is_closed;
};

/* @data is unmasked in place. Returns 0, or the status (enum websocket_status) to close the connection with. */
_must_use_ int websocket_feed(struct websocket *w, uint8_t *data, size_t len);

/* The head of a whole message of ours. Returns its length. */
size_t websocket_head(uint8_t head[WEBSOCKET_OUR_HEAD_MAX], enum websocket_opcode opcode, uint64_t len);
