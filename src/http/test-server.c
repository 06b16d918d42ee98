/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "http/test-server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/strbuf.h"

const char TEST_HANG[] = "hang", TEST_CLOSE[] = "close";

enum { REQUEST_MAX = 1 << 20 };

static X509 *certificate_new(EVP_PKEY *key) {
        X509 *x = X509_new();
        X509_NAME *name = X509_get_subject_name(x);
        X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");

        assert(x && name && names);
        assert(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *) "test", -1, -1, 0) == 1);
        (void) ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
        (void) X509_gmtime_adj(X509_getm_notBefore(x), -3600);
        (void) X509_gmtime_adj(X509_getm_notAfter(x), 3600);
        assert(X509_set_version(x, 2) == 1 && X509_set_issuer_name(x, name) == 1 && X509_set_pubkey(x, key) == 1);
        assert(X509_add_ext(x, names, -1) == 1 && X509_sign(x, key, EVP_sha256()) > 0);
        X509_EXTENSION_free(names);
        return x;
}

/* @in: names with a byte for their length before them. */
static int choose_protocol(SSL *tls, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                           unsigned len, void *userdata) {
        static const unsigned char http1[] = "http/1.1";
        struct test_server *s = userdata;

        if (memmem(in, len, "\2h2", 3))
                s->offered_http2 = true;
        *out = http1;
        *out_len = sizeof(http1) - 1;
        return SSL_TLSEXT_ERR_OK;
}

static void tls_start(struct test_server *s) {
        SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *x = certificate_new(key);
        unsigned char digest[32];
        FILE *f;
        int fd;

        assert(SSL_CTX_use_certificate(tls, x) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1);
        SSL_CTX_set_alpn_select_cb(tls, choose_protocol, s);
        assert(X509_digest(x, EVP_sha256(), digest, NULL) == 1);
        for (size_t i = 0; i < sizeof(digest); i++)
                (void) sprintf(s->fingerprint + 3 * i, "%02X%s", digest[i], i + 1 < sizeof(digest) ? ":" : "");
        (void) strcpy(s->ca_file, "/tmp/test-server.XXXXXX");
        fd = mkostemp(s->ca_file, O_CLOEXEC);
        assert(fd >= 0 && (f = fdopen(fd, "w")));
        assert(PEM_write_X509(f, x) == 1 && fclose(f) == 0);
        X509_free(x);
        EVP_PKEY_free(key);
        s->tls = tls;
}

/* A request with all of its body, or false. */
static bool read_request(SSL *tls, struct strbuf *b) {
        size_t head = 0, body = 0;
        char chunk[4096];
        int n;

        while (!head || b->len < head + body) {
                const char *end, *length;

                n = SSL_read(tls, chunk, sizeof(chunk));
                if (n <= 0)
                        return false;
                strbuf_append(b, chunk, (size_t) n);
                if (head || !(end = strstr(b->data, "\r\n\r\n")))
                        continue;
                head = (size_t) (end + 4 - b->data);
                length = strcasestr(b->data, "\r\nContent-Length: ");
                body = length && length < end ? strtoul(length + 18, NULL, 10) : 0;
        }
        return true;
}

static struct test_step next_step(struct test_server *s, struct strbuf *b, unsigned connection) {
        struct test_step step = { 0 };
        struct test_request *r;

        (void) pthread_mutex_lock(&s->lock);
        assert(s->n_requests < TEST_REQUESTS_MAX);
        r = &s->requests[s->n_requests];
        *r = (struct test_request){ .len = b->len, .text = strbuf_take(b), .connection = connection };
        if (s->script) {
                step = s->script[s->n_requests];
                if (!step.want || strncmp(r->text, step.want, strlen(step.want)) != 0)
                        (void) fprintf(stderr, "wanted %s, got %.300s\n", step.want ? step.want : "nothing", r->text);
                assert(step.want && strncmp(r->text, step.want, strlen(step.want)) == 0);
        }
        s->n_requests++;
        (void) pthread_mutex_unlock(&s->lock);
        if (s->answer)
                s->answer(s, r->text, &step);
        return step;
}

/* False: the connection ends. */
static bool send_answer(SSL *tls, const struct test_step *step) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(REQUEST_MAX);
        size_t len = step->body ? strlen(step->body) : 0;

        if (step->status == TEST_HANG)
                (void) SSL_read(tls, (char[1]){ 0 }, 1);
        if (step->status == TEST_HANG || step->status == TEST_CLOSE)
                return false;
        strbuf_printf(&b, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s%s\r\n%s", step->status, len, step->header ?: "",
                      step->header ? "\r\n" : "", step->body ?: "");
        return SSL_write(tls, b.data, (int) b.len) > 0;
}

struct connection {
        struct test_server *server;
        unsigned number;
        int fd;
};

static void *serve_connection(void *arg) {
        struct connection c = *(struct connection *) arg;
        SSL *tls = SSL_new(c.server->tls);
        bool more;

        free(arg);
        assert(tls && SSL_set_fd(tls, c.fd) == 1);
        more = SSL_accept(tls) == 1;
        while (more) {
                _cleanup_strbuf_ struct strbuf b = STRBUF(REQUEST_MAX);
                struct test_step step;

                more = read_request(tls, &b);
                if (!more)
                        break;
                step = next_step(c.server, &b, c.number);
                more = send_answer(tls, &step);
        }
        SSL_free(tls);
        (void) shutdown(c.fd, SHUT_RDWR);
        return NULL;
}

static void *serve(void *arg) {
        struct test_server *s = arg;

        for (;;) {
                struct connection *c;
                int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

                if (fd < 0)
                        return NULL;
                assert(s->n_connections < TEST_REQUESTS_MAX && (c = calloc(1, sizeof(*c))));
                *c = (struct connection){ .server = s, .number = s->n_connections + 1, .fd = fd };
                s->fds[c->number - 1] = fd;
                assert(pthread_create(&s->connections[c->number - 1], NULL, serve_connection, c) == 0);
                (void) pthread_mutex_lock(&s->lock);
                s->n_connections++;
                (void) pthread_mutex_unlock(&s->lock);
        }
}

unsigned test_server_connections(struct test_server *s) {
        unsigned n;

        (void) pthread_mutex_lock(&s->lock);
        n = s->n_connections;
        (void) pthread_mutex_unlock(&s->lock);
        return n;
}

void test_server_start(struct test_server *s) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(a);

        (void) signal(SIGPIPE, SIG_IGN); /* clients leave */
        (void) pthread_mutex_init(&s->lock, NULL);
        tls_start(s);
        s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert(s->fd >= 0 && bind(s->fd, (struct sockaddr *) &a, sizeof(a)) == 0 && listen(s->fd, 64) == 0);
        assert(getsockname(s->fd, (struct sockaddr *) &a, &len) == 0);
        s->port = ntohs(a.sin_port);
        assert(pthread_create(&s->thread, NULL, serve, s) == 0);
}

void test_server_stop(struct test_server *s) {
        (void) shutdown(s->fd, SHUT_RDWR);
        (void) pthread_join(s->thread, NULL);
        (void) close(s->fd);
        for (unsigned i = 0; i < s->n_connections; i++) {
                (void) shutdown(s->fds[i], SHUT_RDWR);
                (void) pthread_join(s->connections[i], NULL);
                (void) close(s->fds[i]);
        }
        if (s->script && s->script[s->n_requests].want)
                (void) fprintf(stderr, "never came: %s\n", s->script[s->n_requests].want);
        assert(!s->script || !s->script[s->n_requests].want);
        for (size_t i = 0; i < s->n_requests; i++)
                free(s->requests[i].text);
        SSL_CTX_free(s->tls);
        (void) unlink(s->ca_file);
}
