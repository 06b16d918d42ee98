/* SPDX-License-Identifier: Apache-2.0 */
/* Over TLS: what certificates are taken, and requests that change things: sent once, whatever becomes of them. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "http/client.h"
#include "http/test-server.h"

struct call {
        struct http_request req;
        struct http_response resp;
        struct err err;
        int r;
};

static struct http *client(const char *fingerprint) {
        struct http *h;
        struct err err;

        assert(http_new(&(struct http_args){ .fingerprints =
                                                     fingerprint ? (const char *const[]){ fingerprint, NULL } : NULL },
                        &h, &err) == 0);
        return h;
}

static void call(struct http *h, const struct test_server *s, struct call *c) {
        char url[64];

        (void) snprintf(url, sizeof(url), "https://127.0.0.1:%u/x", s->port);
        http_response_done(&c->resp);
        c->req.url = url;
        c->req.cancel_fd = -1;
        c->req.deadline_ns = clock_monotonic_ns() + 20000000000ull;
        c->req.max_body = 1000;
        c->err = (struct err){ 0 };
        c->r = http_perform(h, &c->req, &c->resp, &c->err);
}

static void test_fingerprint_text(void) {
        static const char hex[] = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
        static const char *const bad[] = { "",
                                           "AA",
                                           "AA:BB",
                                           "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEE",
                                           "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF0",
                                           "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF:",
                                           "0011223344556677889::9aabbccddeeff00112233445566778899AABBCCDDEEF",
                                           "x0112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF" };
        struct http *h = client(hex);
        struct err err;

        h = http_free(h);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert(http_new(&(struct http_args){ .fingerprints = (const char *const[]){ hex, bad[i], NULL } }, &h,
                                &err) == -ERR_INVALID);
}

static void test_certificates(void) {
        static const struct test_step script[] = { { "GET /x", "200 OK", "pinned", NULL },
                                                   { "GET /x", "200 OK", "by CA", NULL },
                                                   { 0 } };
        struct test_server s = { .script = script };
        struct call c = { .req = { .attempts = 1 } };
        struct http *h;
        char other[96];

        test_server_start(&s);
        h = client(s.fingerprint);
        call(h, &s, &c);
        assert(c.r == 0 && str_eq(strbuf_str(&c.resp.body), "pinned") && s.offered_http2);
        h = http_free(h);

        memcpy(other, s.fingerprint, sizeof(other));
        other[94] = other[94] == '0' ? '1' : '0';
        h = client(other);
        c.req.ca_file = s.ca_file; /* a CA that would do is no way round the pin */
        call(h, &s, &c);
        assert(c.r == -ERR_UNAVAILABLE && c.resp.failure == HTTP_FAILURE_CERT && !c.resp.sent);
        assert(strstr(c.err.msg, s.fingerprint));
        h = http_free(h);

        h = client(NULL);
        call(h, &s, &c);
        assert(c.r == 0 && str_eq(strbuf_str(&c.resp.body), "by CA"));
        h = http_free(h);
        h = client(NULL);
        c.req.ca_file = NULL;
        call(h, &s, &c);
        assert(c.r == -ERR_UNAVAILABLE && c.resp.failure == HTTP_FAILURE_CERT && !c.resp.sent);
        h = http_free(h);
        http_response_done(&c.resp);
        test_server_stop(&s);
}

static void test_methods(void) {
        static const struct test_step script[] = { { "PUT /x", "200 OK", "a", NULL },
                                                   { "DELETE /x", "501 Unexpected content", "b", NULL },
                                                   { "POST /x", "500 CT 1 not running", "c", NULL },
                                                   { "GET /x", "200 ", "d", NULL },
                                                   { "PUT /x", "302 Found", NULL, "Location: /y" },
                                                   { "GET /x", "302 Found", NULL, "Location: /y" },
                                                   { 0 } };
        struct test_server s = { .script = script };
        struct call c = { .req = { .once = true, .method = "PUT", .body = "a=%00", .body_len = 5 } };
        struct http *h;

        test_server_start(&s);
        h = client(s.fingerprint);
        call(h, &s, &c);
        assert(c.r == 0 && c.resp.sent && str_eq(c.resp.reason, "OK"));
        assert(strstr(s.requests[0].text, "Content-Type: application/x-www-form-urlencoded\r\n"));
        assert(str_ends_with(s.requests[0].text, "\r\n\r\na=%00") && !strcasestr(s.requests[0].text, "expect"));
        c.req = (struct http_request){ .method = "DELETE", .once = true };
        call(h, &s, &c);
        assert(c.r == 0 && c.resp.status == 501 && !strcasestr(s.requests[1].text, "content-length"));
        c.req = (struct http_request){ .method = "POST", .once = true, .body = "{}", .body_len = 2 };
        c.req.headers = (const char *const[]){ "Content-Type: application/json", NULL };
        call(h, &s, &c);
        assert(c.r == 0 && c.resp.status == 500 && str_eq(c.resp.reason, "CT 1 not running"));
        assert(strstr(s.requests[2].text, "Content-Type: application/json\r\n"));
        c.req = (struct http_request){ 0 };
        call(h, &s, &c);
        assert(c.r == 0 && c.resp.status == 200 && str_empty(c.resp.reason));
        c.req.method = "PUT";
        call(h, &s, &c);
        assert(c.r == -ERR_PRECONDITION && strstr(c.err.msg, "redirect of a PUT"));
        c.req = (struct http_request){ .no_redirects = true };
        call(h, &s, &c);
        assert(c.r == 0 && c.resp.status == 302 && c.resp.failure == HTTP_FAILURE_NONE);
        http_response_done(&c.resp);
        h = http_free(h);
        test_server_stop(&s);
}

/* A kept connection that breaks: curl would send again, and so would our own attempts. */
static void test_once(void) {
        static const struct test_step script[] = {
                { "GET /x", "200 OK", "a", NULL },    { "POST /x", TEST_CLOSE, NULL, NULL },
                { "GET /x", "200 OK", "a", NULL },    { "DELETE /x", TEST_CLOSE, NULL, NULL },
                { "POST /x", "503 Busy", "a", NULL }, { "GET /x", TEST_CLOSE, NULL, NULL },
                { "GET /x", "200 OK", "a", NULL },    { 0 }
        };
        struct test_server s = { .script = script };
        struct call c = { 0 };
        struct http *h;

        test_server_start(&s);
        h = client(s.fingerprint);
        call(h, &s, &c);
        c.req = (struct http_request){ .method = "POST", .once = true };
        call(h, &s, &c);
        assert(c.r == -ERR_UNAVAILABLE && c.resp.failure == HTTP_FAILURE_BROKEN && c.resp.sent);
        assert(s.requests[0].connection == s.requests[1].connection); /* else nothing was shown */
        c.req = (struct http_request){ 0 };
        call(h, &s, &c);
        c.req = (struct http_request){ .method = "DELETE", .once = true };
        call(h, &s, &c);
        assert(c.r == -ERR_UNAVAILABLE && c.resp.sent && s.requests[2].connection == s.requests[3].connection);
        c.req = (struct http_request){ .method = "POST", .once = true };
        call(h, &s, &c);
        assert(c.r == 0 && c.resp.status == 503);
        c.req = (struct http_request){ 0 };
        call(h, &s, &c);
        assert(c.r == 0 && c.resp.status == 200 && s.requests[4].connection == s.requests[5].connection);
        http_response_done(&c.resp);
        h = http_free(h);
        test_server_stop(&s);
}

static void test_multipart(void) {
        static const struct test_step script[] = { { "POST /x", "200 OK", "a", NULL }, { 0 } };
        char path[] = "/tmp/test-tls.XXXXXX";
        const struct http_part parts[] = { { .name = "content", .value = "vztmpl" },
                                           { .name = "filename", .file = path, .filename = "t.tar" },
                                           { 0 } };
        struct test_server s = { .script = script };
        struct call c = { .req = { .method = "POST", .parts = parts, .once = true } };
        const char *text, *first, *file;
        struct http *h;
        int fd = mkostemp(path, O_CLOEXEC);

        assert(fd >= 0 && write(fd, "bytes\nof it", 11) == 11 && close(fd) == 0);
        test_server_start(&s);
        h = client(s.fingerprint);
        call(h, &s, &c);
        assert(c.r == 0 && c.resp.status == 200);
        text = s.requests[0].text;
        assert(strstr(text, "Content-Length: ") && strstr(text, "Content-Type: multipart/form-data; boundary="));
        assert(!strcasestr(text, "expect") && !strcasestr(text, "chunked"));
        first = strstr(text, "Content-Disposition: form-data; name=\"content\"\r\n\r\nvztmpl\r\n");
        file = strstr(text, "Content-Disposition: form-data; name=\"filename\"; filename=\"t.tar\"\r\n");
        assert(first && file && first < file && strstr(file, "\r\n\r\nbytes\nof it\r\n"));
        (void) unlink(path);
        call(h, &s, &c);
        assert(c.r == -ERR_INTERNAL && strstr(c.err.msg, path) && !c.resp.sent);
        http_response_done(&c.resp);
        h = http_free(h);
        test_server_stop(&s);
}

int main(void) {
        test_fingerprint_text();
        test_certificates();
        test_methods();
        test_once();
        test_multipart();
        return 0;
}
