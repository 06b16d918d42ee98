/* SPDX-License-Identifier: Apache-2.0 */
/* tls - the streaming server's certificate and key, read again when their files have changed, and TLS connections made
 * with them. The only home of <openssl/ssl.h>. Loop thread only. Private to streaming/.
 *
 * TLS 1.2 and 1.3, OpenSSL's own choice of ciphers, no renegotiation. Clients show no certificate: the URL's token says
 * who may come. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "base/cleanup.h"
#include "base/err.h"

struct tls;

/* PEM files: the certificate with those that signed it, and its private key. ERR_INVALID when they can't be used. */
_must_use_ int tls_new(const char *cert_file, const char *key_file, struct tls **ret, struct err *err);
struct tls *tls_free(struct tls *t); /* connections may outlive it */
DEFINE_CLEANUP(struct tls *, tls_free)

struct tls_conn;

/* A connection on the non-blocking socket @fd, which stays the caller's. The handshake is done by the first reads. */
_must_use_ int tls_accept(struct tls *t, int fd, struct tls_conn **ret, struct err *err);
/* The client's side, for the command line, whose URLs come from the daemon over its own socket: the token is what
 * matters, and the certificate is not checked. It does not say who may come either. */
_must_use_ int tls_connect(int fd, struct tls_conn **ret, struct err *err);
struct tls_conn *tls_conn_free(struct tls_conn *c);

/* As recv(2) and send(2) on a non-blocking socket, but -errno instead of -1. A write that was refused with -EAGAIN has
 * to be repeated with the same bytes, or more of them. */
ssize_t tls_read(struct tls_conn *c, void *buffer, size_t size);
ssize_t tls_write(struct tls_conn *c, const void *data, size_t len);
/* We send no more. At best: what finds no room is left out. */
void tls_end(struct tls_conn *c);

bool tls_is_ready(const struct tls_conn *c); /* the handshake is over */
/* The last read would go on when the socket can be written to. */
bool tls_wants_out(const struct tls_conn *c);
