/* SPDX-License-Identifier: Apache-2.0 */
/* server - HTTP/1.1 on a listening socket, over libmicrohttpd: requests with small bodies, answers that may come piece
 * by piece while they are made. Each connection has a thread, and so has each request that is worked on: who sends or
 * reads slowly holds up nobody else. Everything that a client sends has a maximum.
 *
 * A request is worked on to its end, also when its client goes away meanwhile. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/cleanup.h"
#include "base/err.h"

struct http_server;
struct http_call; /* one request, and its answer */

enum { HTTP_QUERY_MAX = 32, HTTP_WRITE_MAX = 16 << 20 };

struct http_server_args {
        int listen_fd;        /* taken, also on failure */
        unsigned connections; /* at a time, each with one request; others wait to be accepted; 0: 32 */
        size_t max_body;      /* of a request; longer: 413, or the end of the connection when it did not say so */
        unsigned idle_s;      /* a client that neither sends nor takes a byte for so long is cut off; 0: 30 */
        /* Answers; called by a thread of the request's own. What it leaves without a status is a 500. */
        void (*answer)(struct http_call *call, void *userdata);
        void *userdata;
};

_must_use_ int http_server_new(const struct http_server_args *args, struct http_server **ret, struct err *err);
/* Waits for the requests that are worked on: whoever calls this has told them to end. Clients that read get the end of
 * their answers. */
struct http_server *http_server_free(struct http_server *s);
DEFINE_CLEANUP(struct http_server *, http_server_free)

/* What was asked; lives as long as @call. Path and query are as they came, with their %XX. */
const char *http_call_method(const struct http_call *call);
const char *http_call_path(const struct http_call *call);
/* The query's parameters by number; false past the last one. Values may be NULL. */
bool http_call_query(const struct http_call *call, size_t i, const char **ret_name, const char **ret_value);
const char *http_call_body(const struct http_call *call, size_t *ret_len); /* never NULL */

/* The answer's head, once. */
void http_call_begin(struct http_call *call, unsigned status, const char *content_type);
/* More of its body. Never blocks: it waits in memory until the client takes it, at most HTTP_WRITE_MAX bytes; what is
 * more, or for a client that has gone, is dropped. */
void http_call_write(struct http_call *call, const void *data, size_t len);
/* How much of it waits: for callers that rather leave something out. */
size_t http_call_pending(struct http_call *call);
