/* SPDX-License-Identifier: Apache-2.0 */
/* The server: answers piece by piece, bodies with a limit, clients that are slow, leave, or never say all. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "http/client.h"
#include "http/server.h"

enum { MAX_BODY = 1000, PIECE = 1 << 20, PIECES = 20, TIMEOUT_S = 20 };

static char socket_path[100];
static sem_t go_on;
static atomic_int finished;

/* What the tests ask for by paths. */
static void answer(struct http_call *call, void *userdata) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(MAX_BODY * 4);
        const char *path = http_call_path(call), *name, *value, *body;
        size_t len;

        if (str_eq(path, "/nothing"))
                return;
        if (str_eq(path, "/slow")) {
                http_call_begin(call, 200, "text/plain");
                http_call_write(call, "first\n", 6);
                assert(sem_wait(&go_on) == 0);
                http_call_write(call, "last\n", 5);
                finished++;
                return;
        }
        if (str_eq(path, "/large")) {
                _cleanup_(freep) char *piece = xcalloc(PIECE, 1);

                http_call_begin(call, 200, "text/plain");
                for (int i = 0; i < PIECES; i++)
                        http_call_write(call, memset(piece, 'x', PIECE), PIECE);
                finished++;
                return;
        }
        body = http_call_body(call, &len);
        strbuf_printf(&out, "%s %s", http_call_method(call), path);
        for (size_t i = 0; http_call_query(call, i, &name, &value); i++)
                strbuf_printf(&out, " %s=%s", name, value ?: "-");
        strbuf_printf(&out, " [%.*s]", (int) len, body);
        http_call_begin(call, 202, "text/x-echo");
        http_call_write(call, out.data, out.len);
}

static struct http_server *start(unsigned idle_s, unsigned connections) {
        struct http_server_args args = {
                .connections = connections, .max_body = MAX_BODY, .idle_s = idle_s, .answer = answer
        };
        struct http_server *s;
        struct err err;

        finished = 0;
        assert(sem_init(&go_on, 0, 0) == 0);
        assert(sock_listen_unix(socket_path, SOCK_STREAM | SOCK_NONBLOCK, 0600, &args.listen_fd, &err) == 0);
        assert(http_server_new(&args, &s, &err) == 0);
        return s;
}

static int connect_and_say(const char *text) {
        struct timeval limit = { .tv_sec = TIMEOUT_S };
        struct err err;
        int fd;

        assert(sock_connect_unix(socket_path, SOCK_STREAM, &fd, &err) == 0);
        assert(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
        assert(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t) strlen(text));
        return fd;
}

/* Until @text has come. */
static void expect(int fd, const char *text) {
        _cleanup_strbuf_ struct strbuf seen = STRBUF(1 << 20);
        char buf[4096];

        while (!strstr(strbuf_str(&seen), text)) {
                ssize_t n = recv(fd, buf, sizeof(buf), 0);

                assert(n > 0);
                strbuf_append(&seen, buf, (size_t) n);
        }
}

static void expect_end(int fd) {
        char buf[4096];
        ssize_t n;

        while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
                ;
        assert(n == 0 || errno == ECONNRESET);
        (void) close(fd);
}

/* Over the client that the command line has. */
static void test_whole_answers(void) {
        static const struct {
                const char *method, *url, *body, *answer;
                unsigned status;
        } tests[] = {
                { "GET", "http://localhost/a%2Fb/c?x=1%26&y=a+b&z", NULL, "GET /a%2Fb/c x=1%26 y=a b z=- []", 202 },
                { "POST", "http://localhost/p", "hello", "POST /p [hello]", 202 },
                { "PUT", "http://localhost/p", "", "PUT /p []", 202 },
                { "DELETE", "http://localhost/p?n=1", NULL, "DELETE /p n=1 []", 202 },
                { "GET", "http://localhost/nothing", NULL, "", 500 },
        };
        const struct http_args args = { .unix_socket = socket_path };
        struct http_server *s = start(0, 0);
        struct http *h;
        struct err err;

        assert(http_new(&args, &h, &err) == 0);
        for (size_t i = 0; i < ELEMENTSOF(tests); i++) {
                _cleanup_(http_response_done) struct http_response res = { 0 };
                const struct http_request req = { .method = tests[i].method,
                                                  .url = tests[i].url,
                                                  .body = tests[i].body,
                                                  .body_len = strlen(tests[i].body ?: ""),
                                                  .allow_http = true,
                                                  .attempts = 1,
                                                  .cancel_fd = -1,
                                                  .deadline_ns = UINT64_MAX,
                                                  .max_body = 10000 };

                assert(http_perform(h, &req, &res, &err) == 0);
                assert(res.status == tests[i].status && str_eq(strbuf_str(&res.body), tests[i].answer));
        }
        h = http_free(h);
        s = http_server_free(s);
}

static void test_piece_by_piece(void) {
        struct http_server *s = start(0, 0);
        int fd = connect_and_say("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");

        expect(fd, "first\n");
        assert(finished == 0);
        assert(sem_post(&go_on) == 0);
        expect(fd, "last\n");
        (void) close(fd);
        s = http_server_free(s);
}

static void test_long_bodies(void) {
        _cleanup_(freep) char *chunk = xprintf("7d0\r\n%02000d\r\n", 0);
        struct http_server *s = start(0, 0);
        int fd = connect_and_say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n");

        expect(fd, "HTTP/1.1 413 ");
        (void) close(fd);
        fd = connect_and_say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999999\r\n\r\n");
        expect(fd, "HTTP/1.1 4");
        (void) close(fd);
        fd = connect_and_say("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        (void) send(fd, chunk, strlen(chunk), MSG_NOSIGNAL);
        expect_end(fd);
        s = http_server_free(s);
}

/* Slow ones hold up nobody, and are cut off; work that takes long is no idleness. */
static void test_slow_clients(void) {
        struct http_server *s = start(1, 3);
        int silent = connect_and_say("POST / HTTP/1.1\r\nHost: x\r\nContent-Le"), fd;
        int slow = connect_and_say("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");

        expect(slow, "first\n");
        fd = connect_and_say("GET /quick HTTP/1.1\r\nHost: x\r\n\r\n");
        expect(fd, "GET /quick []");
        expect_end(silent);
        expect_end(fd);
        (void) usleep(1500000);
        assert(sem_post(&go_on) == 0);
        expect(slow, "last\n");
        (void) close(slow);
        s = http_server_free(s);
}

static void test_who_does_not_read(void) {
        struct http_server *s = start(1, 0);
        int fd = connect_and_say("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");

        for (int i = 0; finished == 0 && i < TIMEOUT_S * 100; i++)
                (void) usleep(10000);
        assert(finished == 1);
        s = http_server_free(s); /* waits for nobody */
        (void) close(fd);
}

/* What was begun is done. */
static void test_who_leaves(void) {
        struct http_server *s = start(0, 0);
        int fd = connect_and_say("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");

        expect(fd, "first\n");
        (void) close(fd);
        assert(sem_post(&go_on) == 0);
        s = http_server_free(s);
        assert(finished == 1);
}

int main(void) {
        (void) snprintf(socket_path, sizeof(socket_path), "/tmp/test-http-server.%d", (int) getpid());
        test_whole_answers();
        test_piece_by_piece();
        test_long_bodies();
        test_slow_clients();
        test_who_does_not_read();
        test_who_leaves();
        (void) unlink(socket_path);
        return 0;
}
