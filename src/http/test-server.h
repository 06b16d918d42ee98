/* SPDX-License-Identifier: Apache-2.0 */
/* test-server - an HTTPS server with a script, for unit tests of clients: each request has to be the next one of the
 * script, and gets its answer. Connections are kept, and served by threads of their own. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct test_step {
        const char *want;   /* what the request starts with: "GET /path" */
        const char *status; /* "200 OK"; TEST_HANG, TEST_CLOSE */
        const char *body;   /* may be NULL */
        const char *header; /* one more, "Name: value"; may be NULL */
};

extern const char TEST_HANG[];  /* no answer until the client leaves */
extern const char TEST_CLOSE[]; /* no answer */

enum { TEST_REQUESTS_MAX = 256 };

struct test_request {
        char *text; /* all of it, with its body */
        size_t len;
        unsigned connection; /* from 1 on, in the order that they came */
};

struct test_server {
        const struct test_step *script; /* ends with one without want */
        /* Instead of a script: fills @ret for @request, in many threads at once. */
        void (*answer)(struct test_server *s, const char *request, struct test_step *ret);
        void *userdata;
        unsigned port;
        char fingerprint[96]; /* of its certificate, which signs itself and is for 127.0.0.1 */
        char ca_file[32];
        struct test_request requests[TEST_REQUESTS_MAX];
        size_t n_requests;
        atomic_bool offered_http2; /* by a client; it gets HTTP/1.1 */
        /* private */
        pthread_mutex_t lock;
        pthread_t thread, connections[TEST_REQUESTS_MAX];
        int fd, fds[TEST_REQUESTS_MAX];
        unsigned n_connections;
        void *tls;
};

void test_server_start(struct test_server *s);
unsigned test_server_connections(struct test_server *s); /* made so far */
/* The script has to be over. */
void test_server_stop(struct test_server *s);
