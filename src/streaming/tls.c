/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"

/* How often the files are looked at, at most. */
static const uint64_t LOOK_NS = UINT64_C(1000000000);

/* What tells one version of a file from another. */
struct stamp {
        dev_t device;
        ino_t inode;
        off_t size;
        struct timespec changed;
};

struct tls {
        char *cert_file, *key_file;
        SSL_CTX *context;
        struct stamp cert, key;
        uint64_t looked_ns;
};

struct tls_conn {
        SSL *ssl;
        bool wants_out;
        bool is_broken; /* nothing may be said any more */
};

/* ---- certificate and key ---- */

static struct stamp stamp_of(const char *file) {
        struct stat st;

        if (stat(file, &st) < 0)
                return (struct stamp){ 0 };
        return (struct stamp){ st.st_dev, st.st_ino, st.st_size, st.st_ctim };
}

static bool is_same(const struct stamp *a, const struct stamp *b) {
        return a->device == b->device && a->inode == b->inode && a->size == b->size &&
               a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static int fail(const char *what, const char *file, struct err *err) {
        unsigned long code = ERR_get_error();
        const char *reason = code ? ERR_reason_error_string(code) : NULL;

        ERR_clear_error();
        return err_set(err, ERR_INVALID, "streaming over TLS: %s %s: %s", what, file,
                       reason ? reason : "unknown error");
}

static int load(const char *cert_file, const char *key_file, SSL_CTX **ret, struct err *err) {
        SSL_CTX *c;
        int r = 0;

        ERR_clear_error();
        c = SSL_CTX_new(TLS_server_method());
        if (!c)
                abort();
        (void) SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
        /* Whoever cuts the connection gains nothing: all that is said inside has an end of its own. */
        (void) SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
        (void) SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                           SSL_MODE_RELEASE_BUFFERS);
        /* Tokens are used once, so nobody comes back. */
        (void) SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
        (void) SSL_CTX_set_num_tickets(c, 0);
        if (SSL_CTX_use_certificate_chain_file(c, cert_file) != 1)
                r = fail("certificate", cert_file, err);
        else if (SSL_CTX_use_PrivateKey_file(c, key_file, SSL_FILETYPE_PEM) != 1)
                r = fail("private key", key_file, err);
        else if (SSL_CTX_check_private_key(c) != 1)
                r = fail("the key does not belong to the certificate:", key_file, err);
        if (r < 0) {
                SSL_CTX_free(c);
                return r;
        }
        *ret = c;
        return 0;
}

int tls_new(const char *cert_file, const char *key_file, struct tls **ret, struct err *err) {
        _cleanup_(tls_freep) struct tls *t = xnew(struct tls);
        int r;

        t->cert_file = xstrdup(cert_file);
        t->key_file = xstrdup(key_file);
        t->cert = stamp_of(cert_file);
        t->key = stamp_of(key_file);
        t->looked_ns = clock_monotonic_ns();
        r = load(cert_file, key_file, &t->context, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(t);
        return 0;
}

struct tls *tls_free(struct tls *t) {
        if (!t)
                return NULL;
        SSL_CTX_free(t->context);
        free(t->cert_file);
        free(t->key_file);
        free(t);
        return NULL;
}

/* Certificates are renewed while we run. Files that don't fit together yet are looked at again when they change. */
static void refresh(struct tls *t) {
        uint64_t now_ns = clock_monotonic_ns();
        struct stamp cert, key;
        SSL_CTX *fresh;
        struct err err;

        if (now_ns - t->looked_ns < LOOK_NS)
                return;
        t->looked_ns = now_ns;
        cert = stamp_of(t->cert_file);
        key = stamp_of(t->key_file);
        if (is_same(&cert, &t->cert) && is_same(&key, &t->key))
                return;
        t->cert = cert;
        t->key = key;
        if (load(t->cert_file, t->key_file, &fresh, &err) < 0) {
                log_warn("streaming: the old certificate is kept", "error", err.msg, NULL);
                return;
        }
        SSL_CTX_free(t->context);
        t->context = fresh;
        log_info("streaming: certificate read again", "file", t->cert_file, NULL);
}

/* ---- connections ---- */

int tls_accept(struct tls *t, int fd, struct tls_conn **ret, struct err *err) {
        struct tls_conn *c;
        SSL *ssl;

        refresh(t);
        ERR_clear_error();
        ssl = SSL_new(t->context);
        if (!ssl || SSL_set_fd(ssl, fd) != 1) {
                SSL_free(ssl);
                ERR_clear_error();
                return err_set(err, ERR_EXHAUSTED, "set up TLS for a connection: out of memory");
        }
        SSL_set_accept_state(ssl);
        c = xnew(struct tls_conn);
        c->ssl = ssl;
        *ret = c;
        return 0;
}

int tls_connect(int fd, struct tls_conn **ret, struct err *err) {
        SSL_CTX *context = SSL_CTX_new(TLS_client_method());
        SSL *ssl = context ? SSL_new(context) : NULL;

        SSL_CTX_free(context);
        if (!ssl || SSL_set_fd(ssl, fd) != 1) {
                SSL_free(ssl);
                ERR_clear_error();
                return err_set(err, ERR_EXHAUSTED, "set up TLS for a connection: out of memory");
        }
        (void) SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        (void) SSL_set_options(ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
        SSL_set_connect_state(ssl);
        *ret = xnew(struct tls_conn);
        (*ret)->ssl = ssl;
        return 0;
}

struct tls_conn *tls_conn_free(struct tls_conn *c) {
        if (!c)
                return NULL;
        SSL_free(c->ssl);
        free(c);
        return NULL;
}

/* What SSL_read() and SSL_write() gave, as recv(2) and send(2) would say it. */
static ssize_t result(struct tls_conn *c, int r) {
        int code = errno;

        c->wants_out = false;
        if (r > 0)
                return r;
        switch (SSL_get_error(c->ssl, r)) {
        case SSL_ERROR_WANT_READ:
                return -EAGAIN;
        case SSL_ERROR_WANT_WRITE:
                c->wants_out = true;
                return -EAGAIN;
        case SSL_ERROR_ZERO_RETURN:
                return 0;
        case SSL_ERROR_SYSCALL:
                c->is_broken = true;
                return code ? -code : -ECONNRESET;
        default:
                c->is_broken = true;
                log_debug("streaming: TLS connection failed", "reason",
                          ERR_reason_error_string(ERR_peek_error()) ?: "unknown", NULL);
                return -EPROTO;
        }
}

ssize_t tls_read(struct tls_conn *c, void *buffer, size_t size) {
        if (c->is_broken)
                return -EPROTO;
        ERR_clear_error();
        errno = 0;
        return result(c, SSL_read(c->ssl, buffer, (int) MIN_OF(size, (size_t) INT_MAX)));
}

ssize_t tls_write(struct tls_conn *c, const void *data, size_t len) {
        bool wants_out = c->wants_out;
        ssize_t n;

        if (c->is_broken)
                return -EPROTO;
        ERR_clear_error();
        errno = 0;
        n = result(c, SSL_write(c->ssl, data, (int) MIN_OF(len, (size_t) INT_MAX)));
        c->wants_out = wants_out; /* of reads alone: who writes waits for room anyway */
        return n == 0 ? -EPIPE : n;
}

void tls_end(struct tls_conn *c) {
        if (c->is_broken || !SSL_is_init_finished(c->ssl))
                return;
        ERR_clear_error();
        (void) SSL_shutdown(c->ssl);
        ERR_clear_error();
}

bool tls_is_ready(const struct tls_conn *c) {
        return SSL_is_init_finished(c->ssl);
}

bool tls_wants_out(const struct tls_conn *c) {
        return c->wants_out;
}
