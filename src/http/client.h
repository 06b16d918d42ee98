/* SPDX-License-Identifier: Apache-2.0 */
/* client - HTTP requests that block, over libcurl: for worker threads. struct http is thread-safe; a request and its
 * response belong to one thread. Connections, TLS sessions and names are kept and used again.
 *
 * What it promises: only http and https; plain http only where the caller allows it; redirects are followed by
 * ourselves, never from https to http nor to a link-local address, and Authorization goes to the first origin only; no
 * cookies; proxies by the environment, but never for loopback; the certificate is always checked, by its chain and name
 * or by its fingerprint; everything that a server sends has a maximum; secrets are never in messages. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/err.h"
#include "base/strbuf.h"

struct http;

struct http_args {
        const char *user_agent;      /* NULL: the program's name and version */
        unsigned connect_timeout_ms; /* 0: 15 s; TLS included */
        unsigned stall_timeout_s;    /* 0: 60; a transfer slower than 512 bytes a second for so long is broken off */
        /* SHA-256 of whole certificates, "AA:BB:..." or without colons, NULL-terminated: a server has to show one of
         * these; who signed it, and for what name and time, does not matter then. NULL: the usual checks. */
        const char *const *fingerprints;
        const char *unix_socket; /* every request goes there, whatever host its URL names; NULL: over the network */
};

/* ERR_INVALID for what is no fingerprint, ERR_UNIMPLEMENTED when this libcurl can't check one. */
_must_use_ int http_new(const struct http_args *args, struct http **ret, struct err *err);
struct http *http_free(struct http *h); /* no request may be under way */
DEFINE_CLEANUP(struct http *, http_free)
/* Close idle connections and give their memory back. */
void http_trim(struct http *h);

enum { HTTP_HEADERS_MAX = 64 * 1024, HTTP_REDIRECTS_MAX = 10, HTTP_ERROR_BODY_MAX = 64 * 1024 };

/* A field of a multipart form: text, or a file. */
struct http_part {
        const char *name;            /* NULL ends the list */
        const char *value;           /* text; NULL: what @file has */
        const char *file, *filename; /* where it is, and what the server is told that it is called */
};

/* A body that is made while it is sent. */
struct http_body {
        int (*rewind)(void *userdata, struct err *err); /* to its first byte; called before each attempt */
        /* At least one byte; fewer than were announced in all are an error. Failing stops the request and is returned
         * with what it put into @err. It may wait, and has to see to it that cancelling ends that. */
        int (*read)(void *data, size_t size, size_t *ret_len, void *userdata, struct err *err);
        void *userdata;
};

struct http_request {
        const char *method; /* NULL: GET; HEAD, POST, PUT, PATCH and DELETE are the others */
        const char *url;
        const char *const *headers; /* "Name: value", NULL-terminated, sent on every hop; may be NULL */
        const char *authorization;  /* value of that header; only ever sent to the origin of @url; may be NULL */
        const char *body;           /* POST and PUT: a form, unless @headers name another Content-Type */
        size_t body_len;
        const struct http_body *stream; /* PUT and PATCH: makes the @body_len bytes in place of @body; may be NULL */
        const struct http_part *parts;  /* POST: multipart/form-data instead of @body; may be NULL */
        const char *ca_file;            /* trusted as well as the system's; may be NULL */
        const char *cert_file;          /* PEM: who we are, for the origin of @url alone; may be NULL */
        const char *key_file;           /* PEM, its private key; NULL: it is in @cert_file */
        bool allow_http;                /* plain http for @url, and for redirects as long as no hop was https */
        uint64_t offset;                /* ask for the body from here on (Range) */
        uint64_t length;                /* and for so many bytes; all (200) is ERR_UNIMPLEMENTED then; 0: to its end */
        unsigned attempts;              /* 0: 5; for connection errors at most 3 of them */
        bool once;            /* must not arrive twice: no other attempt, not even curl's own, once it was sent */
        bool is_foreign;      /* another server has named @url: as along redirects, no link-local address */
        bool no_redirects;    /* 3xx are statuses as any other */
        int cancel_fd;        /* readable: stop, ERR_CANCELLED; -1: none */
        uint64_t deadline_ns; /* CLOCK_MONOTONIC; UINT64_MAX: none; ERR_DEADLINE */
        size_t max_body;      /* without @sink: a longer body is ERR_EXHAUSTED */
        /* Takes the bytes of a 200 or 206 body from @offset on, also when the server ignores Range. Non-zero stops, and
         * is returned with what it put into @err. NULL: the body is kept in the response. */
        int (*sink)(const void *data, size_t len, void *userdata, struct err *err);
        void *userdata;
};

/* What went wrong, for those who decide about another way. */
enum http_failure {
        HTTP_FAILURE_NONE,    /* there is a status */
        HTTP_FAILURE_CONNECT, /* no connection */
        HTTP_FAILURE_TLS,     /* the peer does not speak TLS */
        HTTP_FAILURE_CERT,    /* not a certificate that we trust */
        HTTP_FAILURE_BROKEN,  /* connection lost or stalled on the way */
        HTTP_FAILURE_OTHER,   /* limit, refused redirect, cancelled, sink's error */
};

struct http_response {
        unsigned status;  /* of the last hop; 0 when none answered */
        char reason[512]; /* what its status line says behind the number, printable; empty with HTTP/2 */
        enum http_failure failure;
        bool sent;             /* the last attempt had a connection: its request may have arrived */
        char *url;             /* whither redirects have led; NULL: there was none */
        struct strbuf headers; /* of the last hop: name NUL value NUL ..., names in lower case */
        struct strbuf body;    /* without sink, and of errors (cut at HTTP_ERROR_BODY_MAX) */
        uint64_t received;     /* bytes that the sink took */
};

/* Returns 0 for every status that a server gave; read it. 429 and 5xx are tried again before (after Retry-After, when
 * that is 30 s or less), as are lost connections as long as the sink took nothing; past that the caller may go on at
 * offset + received. ERR_UNAVAILABLE: unreachable or broken off. @ret is always valid afterwards; http_response_done()
 * it. */
_must_use_ int http_perform(struct http *h, const struct http_request *req, struct http_response *ret, struct err *err);
void http_response_done(struct http_response *r);

/* Value of header @name (lower case), or of the one after @after (a value this gave before); NULL when there is none.
 */
const char *http_response_header(const struct http_response *r, const char *name, const char *after);

/* Its Date, in seconds since 1970; 0 when it has none. */
int64_t http_response_date_s(const struct http_response *r);

/* Seconds that the server wants to be left alone (Retry-After); 0: it does not say. */
unsigned http_retry_after_s(const struct http_response *r);
enum { HTTP_RETRY_AFTER_MAX_S = 30 }; /* those that we wait */

/* For loops of the caller's own: how long to wait before try number @attempt (from 0), partly random; and the wait,
 * which ends early with ERR_CANCELLED or ERR_DEADLINE. */
unsigned http_backoff_ms(unsigned attempt);
_must_use_ int http_pause(int cancel_fd, uint64_t deadline_ns, unsigned ms, struct err *err);
