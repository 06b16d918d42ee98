/* SPDX-License-Identifier: Apache-2.0 */
/* upgrade - the one HTTP/1.1 request that a connection begins with, and the answers to it. No I/O.
 * Wire: RFC 9112 for the head, RFC 6455 section 4 for WebSocket; SPDY's headers are those of Kubernetes. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "base/strbuf.h"

enum {
        UPGRADE_HEAD_MAX = 16 * 1024,
        UPGRADE_HEADERS_MAX = 100,
        UPGRADE_PATH_MAX = 256,
        UPGRADE_QUERY_MAX = 1024,
        UPGRADE_PROTOCOLS_MAX = 16,
        UPGRADE_PROTOCOL_MAX = 64,
        UPGRADE_KEY_LEN = 24, /* 16 bytes in base64 */
};

enum upgrade_kind { UPGRADE_NONE, UPGRADE_SPDY, UPGRADE_WEBSOCKET };

/* What the client can speak, in its order of preference. */
struct upgrade_protocols {
        char names[UPGRADE_PROTOCOLS_MAX][UPGRADE_PROTOCOL_MAX];
        size_t n;
};

struct upgrade_request {
        char path[UPGRADE_PATH_MAX];
        char query[UPGRADE_QUERY_MAX]; /* "" when there is none */
        bool is_get;                   /* else POST */
        enum upgrade_kind kind;
        struct upgrade_protocols stream_protocols; /* X-Stream-Protocol-Version */
        struct upgrade_protocols ws_protocols;     /* Sec-WebSocket-Protocol */
        char ws_key[UPGRADE_KEY_LEN + 1];          /* "" when missing or not of that length */
        bool ws_version_ok;                        /* Sec-WebSocket-Version: 13 */
};

/* @data: all that has arrived. Returns the length of the head (what follows belongs to the upgraded protocol), 0 when
 * more is needed, or the negative HTTP status to refuse it with. */
_must_use_ ssize_t upgrade_parse(const char *data, size_t len, struct upgrade_request *ret);

/* The first of @client's protocols that is among @server's (NULL ends the list), or NULL. */
const char *upgrade_choose(const struct upgrade_protocols *client, const char *const *server);

/* 101 answers. @protocol NULL: none was asked for (WebSocket only). */
void upgrade_accept_spdy(struct strbuf *out, const char *protocol);
void upgrade_accept_websocket(struct strbuf *out, const char *key, const char *protocol);
/* Any other answer; the connection closes after it. @accepted (or NULL): the protocols that would have done. */
void upgrade_refuse(struct strbuf *out, int status, const char *const *accepted, const char *message);
