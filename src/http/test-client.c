/* SPDX-License-Identifier: Apache-2.0 */
/* The client against a server of scripted answers: each connection gets the next one and is closed. */
#undef NDEBUG
#include "http/client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/str.h"

enum { ANSWERS_MAX = 32 };

struct server {
        int fd;
        unsigned port;
        pthread_t thread;
        const char *answers[ANSWERS_MAX]; /* "" : say nothing until the client leaves */
        char requests[ANSWERS_MAX][4096];
        size_t n, served;
};

static void serve_one(struct server *s, int fd) {
        char *req = s->requests[s->served];
        const char *answer = s->answers[s->served];
        size_t len = 0;
        ssize_t n;

        /* 0x16 starts a TLS handshake, which is answered as a plain server does. */
        while (len < sizeof(s->requests[0]) - 1 && !strstr(req, "\r\n\r\n") && req[0] != 0x16) {
                n = read(fd, req + len, sizeof(s->requests[0]) - 1 - len);
                if (n <= 0)
                        break;
                len += (size_t) n;
                req[len] = '\0';
        }
        s->served++;
        if (*answer)
                (void) send(fd, answer, strlen(answer), MSG_NOSIGNAL);
        else
                (void) !read(fd, (char[1]){ 0 }, 1);
}

static void *serve(void *arg) {
        struct server *s = arg;

        while (s->served < s->n) {
                int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
                if (fd < 0)
                        break;
                serve_one(s, fd);
                (void) close(fd);
        }
        return NULL;
}

static void server_start(struct server *s) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(a);

        while (s->n < ANSWERS_MAX && s->answers[s->n])
                s->n++;
        s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert(s->fd >= 0 && bind(s->fd, (struct sockaddr *) &a, sizeof(a)) == 0 && listen(s->fd, 8) == 0);
        assert(getsockname(s->fd, (struct sockaddr *) &a, &len) == 0);
        s->port = ntohs(a.sin_port);
        assert(pthread_create(&s->thread, NULL, serve, s) == 0);
}

static void server_stop(struct server *s) {
        (void) shutdown(s->fd, SHUT_RDWR);
        (void) pthread_join(s->thread, NULL);
        (void) close(s->fd);
}

static int into_buf(const void *data, size_t len, void *userdata, struct err *err) {
        strbuf_append(userdata, data, len);
        return 0;
}

static int refuse(const void *data, size_t len, void *userdata, struct err *err) {
        return err_set(err, ERR_DATA_LOSS, "not wanted");
}

#define OK(body) "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" body

struct call {
        struct http_request req;
        struct http_response resp;
        struct err err;
        int r;
};

static void call(struct http *h, const struct server *s, struct call *c) {
        char url[64];

        (void) snprintf(url, sizeof(url), "http://127.0.0.1:%u/start", s->port);
        c->req.url = url;
        c->req.allow_http = true;
        if (!c->req.cancel_fd)
                c->req.cancel_fd = -1;
        if (!c->req.deadline_ns)
                c->req.deadline_ns = UINT64_MAX;
        if (!c->req.max_body)
                c->req.max_body = 1000;
        c->err.msg[0] = '\0';
        c->r = http_perform(h, &c->req, &c->resp, &c->err);
}

static void test_plain(struct http *h) {
        struct server s = { .answers = {
                                    "HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:  two \r\nContent-Length: 5\r\n\r\nhello" } };
        struct call c = { .req = { .authorization = "Bearer t",
                                   .headers = (const char *const[]){ "Accept: x/y", NULL } } };
        const char *first;

        server_start(&s);
        call(h, &s, &c);
        assert(c.r == 0 && c.resp.status == 200 && str_eq(strbuf_str(&c.resp.body), "hello"));
        first = http_response_header(&c.resp, "x-a", NULL);
        assert(str_eq(first, "1") && str_eq(http_response_header(&c.resp, "x-a", first), "two"));
        assert(!http_response_header(&c.resp, "1", NULL));
        assert(strstr(s.requests[0], "Authorization: Bearer t\r\n") && strstr(s.requests[0], "Accept: x/y\r\n"));
        http_response_done(&c.resp);
        server_stop(&s);
}

static void test_redirect_drops_secrets(struct http *h) {
        struct server other = { .answers = { OK("x") } };
        struct server s = {
                .answers = { "HTTP/1.1 307 T\r\nLocation: /again\r\nSet-Cookie: a=b\r\nConnection: close\r\n\r\n",
                             NULL }
        };
        struct call c = { .req = { .authorization = "Bearer t" } };
        char to_other[200];

        server_start(&other);
        (void) snprintf(
                to_other, sizeof(to_other),
                "HTTP/1.1 307 T\r\nLocation: http://localhost:%u/y\r\nSet-Cookie: a=b\r\nConnection: close\r\n\r\n",
                other.port);
        s.answers[1] = to_other;
        server_start(&s);
        call(h, &s, &c);
        assert(c.r == 0 && c.resp.status == 200);
        assert(strstr(s.requests[1], "GET /again ") && strstr(s.requests[1], "Authorization: Bearer t"));
        assert(strstr(other.requests[0], "GET /y ") && !strcasestr(other.requests[0], "authorization"));
        assert(!strcasestr(other.requests[0], "cookie") && !strcasestr(s.requests[1], "cookie"));
        http_response_done(&c.resp);
        server_stop(&s);
        server_stop(&other);
}

/* Neither by a redirect nor by a URL that a server has named; as a number it is the same address. */
static void test_link_local(struct http *h) {
        static const char *const targets[] = { "http://169.254.169.254/x", "http://2852039166/x", "http://[fe80::1]/x",
                                               "http://[::ffff:169.254.1.1]/x" };

        for (size_t i = 0; i < ELEMENTSOF(targets); i++) {
                const struct http_request req = { .url = targets[i],
                                                  .allow_http = true,
                                                  .is_foreign = true,
                                                  .cancel_fd = -1,
                                                  .deadline_ns = UINT64_MAX };
                struct http_response resp = { 0 };
                struct err err;

                assert(http_perform(h, &req, &resp, &err) == -ERR_PRECONDITION && strstr(err.msg, "link-local"));
                http_response_done(&resp);
        }
}

static void test_redirect_limits(struct http *h) {
        static const char loop[] = "HTTP/1.1 302 T\r\nLocation: /start\r\nConnection: close\r\n\r\n";
        struct server s = { .answers = { loop, loop, loop, loop, loop, loop, loop, loop, loop, loop, loop, loop } };
        struct server f = { .answers = {
                                    "HTTP/1.1 302 T\r\nLocation: file:///etc/passwd\r\nConnection: close\r\n\r\n" } };
        struct call c = { 0 };

        server_start(&s);
        call(h, &s, &c);
        assert(c.r == -ERR_UNAVAILABLE && strstr(c.err.msg, "redirects") && s.served == HTTP_REDIRECTS_MAX + 1);
        http_response_done(&c.resp);
        server_stop(&s);
        server_start(&f);
        call(h, &f, &c);
        assert(c.r == -ERR_INVALID);
        http_response_done(&c.resp);
        server_stop(&f);
}

static void test_retries(struct http *h) {
        struct server s = { .answers = { "HTTP/1.1 503 X\r\nConnection: close\r\n\r\n",
                                         "HTTP/1.1 429 X\r\nRetry-After: 1\r\nConnection: close\r\n\r\n",
                                         OK("fine") } };
        struct server busy = { .answers = { "HTTP/1.1 429 X\r\nRetry-After: 3600\r\nConnection: close\r\n\r\n" } };
        struct server bad = { .answers = { "HTTP/1.1 500 X\r\nConnection: close\r\n\r\ntext",
                                           "HTTP/1.1 500 X\r\nConnection: close\r\n\r\ntext" } };
        struct call c = { 0 };
        uint64_t start = clock_monotonic_ns();

        server_start(&s);
        call(h, &s, &c);
        assert(c.r == 0 && c.resp.status == 200 && s.served == 3);
        assert(clock_monotonic_ns() - start >= 1000000000ull);
        http_response_done(&c.resp);
        server_stop(&s);
        server_start(&busy);
        call(h, &busy, &c);
        assert(c.r == 0 && c.resp.status == 429 && busy.served == 1);
        http_response_done(&c.resp);
        server_stop(&busy);
        server_start(&bad);
        c.req.attempts = 2;
        call(h, &bad, &c);
        assert(c.r == 0 && c.resp.status == 500 && str_eq(strbuf_str(&c.resp.body), "text") && bad.served == 2);
        http_response_done(&c.resp);
        server_stop(&bad);
}

static void test_range(struct http *h) {
        struct server s = {
                .answers = { "HTTP/1.1 206 P\r\nContent-Range: bytes 4-9/10\r\nConnection: close\r\n\r\n456789",
                             OK("0123456789"),
                             "HTTP/1.1 206 P\r\nContent-Range: bytes 0-9/10\r\nConnection: close\r\n\r\n0123456789",
                             "HTTP/1.1 206 P\r\nContent-Length: 100\r\nContent-Range: bytes 4-103/104\r\n\r\n4567",
                             "HTTP/1.1 206 P\r\nContent-Range: bytes 4-6/10\r\nConnection: close\r\n\r\n456",
                             OK("0123456789") }
        };
        struct strbuf b = STRBUF(100);
        struct call c = { .req = { .offset = 4, .sink = into_buf, .userdata = &b } };

        server_start(&s);
        for (int i = 0; i < 2; i++) {
                call(h, &s, &c);
                assert(c.r == 0 && c.resp.received == 6 && str_eq(strbuf_str(&b), "456789"));
                assert(strstr(s.requests[i], "Range: bytes=4-\r\n"));
                strbuf_done(&b);
                http_response_done(&c.resp);
        }
        call(h, &s, &c);
        assert(c.r == -ERR_DATA_LOSS && c.resp.received == 0);
        http_response_done(&c.resp);
        call(h, &s, &c);
        assert(c.r == -ERR_UNAVAILABLE && c.resp.received == 4 && c.resp.failure == HTTP_FAILURE_BROKEN);
        http_response_done(&c.resp);
        strbuf_done(&b);
        c.req.length = 3;
        call(h, &s, &c);
        assert(c.r == 0 && str_eq(strbuf_str(&b), "456") && strstr(s.requests[4], "Range: bytes=4-6\r\n"));
        http_response_done(&c.resp);
        strbuf_done(&b);
        call(h, &s, &c);
        assert(c.r == -ERR_UNIMPLEMENTED && c.resp.received == 0 && b.len == 0);
        http_response_done(&c.resp);
        strbuf_done(&b);
        server_stop(&s);
}

static void test_limits(struct http *h) {
        static char headers[HTTP_HEADERS_MAX + 5000], body[3000];
        struct server s = { .answers = { headers, body, OK("abc") } };
        struct call c = { 0 };
        size_t len;

        len = (size_t) snprintf(headers, sizeof(headers), "HTTP/1.1 200 OK\r\n");
        while (len < HTTP_HEADERS_MAX + 4000)
                len += (size_t) snprintf(headers + len, sizeof(headers) - len, "X-Fill: %0100d\r\n", 0);
        (void) snprintf(body, sizeof(body), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%02000d", 0);
        server_start(&s);
        call(h, &s, &c);
        assert(c.r == -ERR_EXHAUSTED && strstr(c.err.msg, "headers"));
        http_response_done(&c.resp);
        call(h, &s, &c);
        assert(c.r == -ERR_EXHAUSTED && strstr(c.err.msg, "larger than 1000"));
        http_response_done(&c.resp);
        c.req.sink = refuse;
        call(h, &s, &c);
        assert(c.r == -ERR_DATA_LOSS && str_eq(c.err.msg, "not wanted"));
        http_response_done(&c.resp);
        server_stop(&s);
}

static void test_stops(struct http *h) {
        struct server s = { .answers = { "", "", "HTTP/1.1 503 X\r\nRetry-After: 20\r\nConnection: close\r\n\r\n" } };
        struct call c = { 0 };
        int fd = eventfd(1, EFD_CLOEXEC);

        server_start(&s);
        c.req.deadline_ns = clock_monotonic_ns() + 200000000;
        call(h, &s, &c);
        assert(c.r == -ERR_DEADLINE);
        http_response_done(&c.resp);
        c.req.deadline_ns = 0;
        c.req.cancel_fd = fd;
        call(h, &s, &c);
        assert(c.r == -ERR_CANCELLED);
        http_response_done(&c.resp);
        c.req.cancel_fd = -1;
        c.req.deadline_ns = clock_monotonic_ns() + 300000000;
        call(h, &s, &c);
        assert(c.r == -ERR_DEADLINE); /* in the pause before the next try */
        http_response_done(&c.resp);
        server_stop(&s);
        (void) close(fd);
}

/* In libc's place: name servers that don't answer for a while. */
static atomic_uint names_asked;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
        __attribute__((visibility("default"))); /* libcurl's, too */

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res) {
        names_asked++;
        (void) sleep(5);
        return EAI_AGAIN;
}

static void test_slow_names(struct http *h) {
        int fd = eventfd(1, EFD_CLOEXEC);
        struct http_request req = { .url = "https://slow.invalid/", .cancel_fd = fd, .deadline_ns = UINT64_MAX };
        struct http_response resp;
        struct err err;
        uint64_t began = clock_monotonic_ns();

        assert(http_perform(h, &req, &resp, &err) == -ERR_CANCELLED);
        http_response_done(&resp);
        req.cancel_fd = -1;
        req.deadline_ns = clock_monotonic_ns() + 200000000;
        assert(http_perform(h, &req, &resp, &err) == -ERR_DEADLINE && names_asked == 2);
        http_response_done(&resp);
        assert(clock_monotonic_ns() - began < 4000000000);
        (void) close(fd);
}

static void test_failures(struct http *h) {
        struct server s = { .answers = { "HTTP/1.1 400 Bad Request\r\n\r\n" } };
        struct http_request req = {
                .url = "http://r.example/", .cancel_fd = -1, .deadline_ns = UINT64_MAX, .attempts = 1
        };
        struct http_response resp;
        struct err err;
        char url[64];

        assert(http_perform(h, &req, &resp, &err) == -ERR_PRECONDITION); /* plain http not allowed */
        http_response_done(&resp);
        req.url = "file:///etc/passwd";
        assert(http_perform(h, &req, &resp, &err) == -ERR_INVALID);
        http_response_done(&resp);
        server_start(&s);
        (void) snprintf(url, sizeof(url), "https://127.0.0.1:%u/", s.port);
        req.url = url;
        assert(http_perform(h, &req, &resp, &err) == -ERR_UNAVAILABLE && resp.failure == HTTP_FAILURE_TLS);
        http_response_done(&resp);
        server_stop(&s);
        assert(http_perform(h, &req, &resp, &err) == -ERR_UNAVAILABLE && resp.failure == HTTP_FAILURE_CONNECT);
        http_response_done(&resp);
}

static void test_stall(void) {
        struct server s = { .answers = { "", "", "" } };
        struct call c = { 0 };
        struct http *h;

        assert(http_new(&(struct http_args){ .stall_timeout_s = 1 }, &h, &c.err) == 0);
        server_start(&s);
        c.req.attempts = 1;
        call(h, &s, &c);
        assert(c.r == -ERR_UNAVAILABLE && c.resp.failure == HTTP_FAILURE_BROKEN);
        http_response_done(&c.resp);
        server_stop(&s);
        h = http_free(h);
}

int main(void) {
        struct http *h;
        struct err err;

        assert(http_new(&(struct http_args){ .user_agent = "test/1" }, &h, &err) == 0);
        test_plain(h);
        test_redirect_drops_secrets(h);
        test_redirect_limits(h);
        test_link_local(h);
        test_retries(h);
        test_range(h);
        test_limits(h);
        test_stops(h);
        test_slow_names(h);
        test_failures(h);
        h = http_free(h);
        test_stall();
        return 0;
}
