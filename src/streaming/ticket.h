/* SPDX-License-Identifier: Apache-2.0 */
/* ticket - what an RPC asked for, kept under an unguessable token until the client comes for it. Thread-safe: RPCs put
 * them in from the pool, connections take them out on the loop. Private to streaming/. */
#pragma once
#include "streaming/streaming.h"

enum {
        TICKET_TOKEN_BYTES = 18, /* 144 random bits */
        TICKET_TOKEN_LEN = TICKET_TOKEN_BYTES / 3 * 4,
        TICKET_MAX_PORTS = 127, /* a WebSocket client has two channels for each, in a byte */
};

enum ticket_kind { TICKET_EXEC, TICKET_ATTACH, TICKET_PORT_FORWARD };

struct ticket {
        struct ticket *next;
        enum ticket_kind kind;
        char token[TICKET_TOKEN_LEN + 1];
        uint64_t expires_ns;
        size_t bytes;
        /* Pointers lead into "memory". */
        union {
                struct streaming_exec exec;
                struct streaming_attach attach;
                struct streaming_port_forward port_forward;
        };
        struct arena *memory;
};

struct ticket *ticket_free(struct ticket *t);
DEFINE_CLEANUP(struct ticket *, ticket_free)

struct tickets;

struct tickets *tickets_new(size_t max, uint64_t ttl_ns);
struct tickets *tickets_free(struct tickets *s);
DEFINE_CLEANUP(struct tickets *, tickets_free)

/* Copies of the requests, which are checked here. @ret_token is as long as a token and its NUL. */
_must_use_ int tickets_put_exec(struct tickets *s, const struct streaming_exec *req,
                                char ret_token[TICKET_TOKEN_LEN + 1], struct err *err);
_must_use_ int tickets_put_attach(struct tickets *s, const struct streaming_attach *req,
                                  char ret_token[TICKET_TOKEN_LEN + 1], struct err *err);
_must_use_ int tickets_put_port_forward(struct tickets *s, const struct streaming_port_forward *req,
                                        char ret_token[TICKET_TOKEN_LEN + 1], struct err *err);

/* The path is "/exec/TOKEN" and so on. NULL for one that is unknown, used, or expired. */
struct ticket *tickets_take(struct tickets *s, const char *path);

/* "exec", "attach", "portforward". */
const char *ticket_kind_name(enum ticket_kind kind);
