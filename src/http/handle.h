/* SPDX-License-Identifier: Apache-2.0 */
/* handle - a curl handle with its connections, kept for reuse, and one exchange (one hop) on it. Private to client.c.
 */
#pragma once
#include <curl/curl.h>
#include <pthread.h>
#include "http/client.h"
#include "http/tls.h"

struct handle {
        struct handle *next;
        const struct http *http;
        CURLM *multi; /* owns the connections */
        CURL *easy;
        char *origin;       /* "https://host:port" of the last use */
        struct tls_pin met; /* the certificate that was refused last for its fingerprint; set: met_other */
        bool met_other;
        uint8_t *gathered; /* HANDLE_GATHER_BYTES; NULL until a sink wants some */
};

enum { HANDLES_IDLE_MAX = 8, HANDLE_GATHER_BYTES = 256 * 1024 };

struct http {
        pthread_mutex_t lock; /* guards idle and n_idle */
        struct handle *idle;
        size_t n_idle;
        CURLSH *share; /* TLS sessions and names; connections can't be shared between threads */
        pthread_mutex_t share_locks[CURL_LOCK_DATA_LAST];
        char *user_agent, *unix_socket;
        unsigned connect_timeout_ms, stall_timeout_s;
        bool use_ca_path;     /* the system has a hashed folder of certificates: no bundle to parse a connection */
        struct tls_pin *pins; /* a server has to show one of these; none: the usual checks */
        size_t n_pins;
};

struct handle *handle_take(struct http *h, const char *url);
void handle_give_back(struct http *h, struct handle *handle);
struct handle *handle_free(struct handle *handle);

/* One request to one place; no redirects, no retries. Fills @ret (emptied before). */
_must_use_ int handle_exchange(struct handle *handle, const struct http_request *req, const char *url,
                               bool is_first_origin, struct http_response *ret, struct err *err);
