/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and what is made of them, each also cut after every byte. */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include "base/str.h"
#include "streaming/upgrade.h"

#define HOST "Host: 127.0.0.1:1\r\n"
#define SPDY "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

struct example {
        const char *head;
        int status; /* 0: taken */
        enum upgrade_kind kind;
        const char *protocols; /* joined by commas, of the kind */
        const char *path, *query;
};

static const struct example examples[] = {
        /* What clients send. */
        { "POST /exec/abc HTTP/1.1\r\n" HOST "User-Agent: Go-http-client/1.1\r\nContent-Length: 0\r\n" SPDY
          "X-Stream-Protocol-Version: v4.channel.k8s.io\r\nX-Stream-Protocol-Version: v3.channel.k8s.io\r\n\r\n",
          0, UPGRADE_SPDY, "v4.channel.k8s.io,v3.channel.k8s.io", "/exec/abc", "" },
        { "GET /attach/abc?a=b HTTP/1.1\r\n" HOST SPDY "X-Stream-Protocol-Version: a, b ,,c\r\n\r\n", 0, UPGRADE_SPDY,
          "a,b,c", "/attach/abc", "a=b" },
        { "GET /exec/abc HTTP/1.1\r\n" HOST "connection: keep-alive, UPGRADE\r\nupgrade: WebSocket\r\n" KEY
          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io\r\n\r\n",
          0, UPGRADE_WEBSOCKET, "v5.channel.k8s.io,v4.channel.k8s.io", "/exec/abc", "" },
        { "GET / HTTP/1.1\r\n" HOST "Connection: a\r\nConnection: upgrade\r\nUpgrade: x, SPDY/3.1\r\n\r\n", 0,
          UPGRADE_SPDY, "", "/", "" },
        /* Not asked to upgrade, or to something else. */
        { "GET / HTTP/1.1\r\n" HOST "\r\n", 0, UPGRADE_NONE, "", "/", "" },
        { "GET / HTTP/1.1\r\n" HOST "Upgrade: SPDY/3.1\r\n\r\n", 0, UPGRADE_NONE, "", "/", "" },
        { "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 0, UPGRADE_NONE, "", "/", "" },
        { "GET / HTTP/1.1\r\n" HOST "Connection: upgraded\r\nUpgrade: SPDY/3.1\r\n\r\n", 0, UPGRADE_NONE, "", "/", "" },
        /* Not what is served here. */
        { "PUT / HTTP/1.1\r\n" HOST "\r\n", 405 },
        { "get / HTTP/1.1\r\n" HOST "\r\n", 405 },
        { "GET / HTTP/1.0\r\n" HOST "\r\n", 505 },
        { "PRI * HTTP/2.0\r\n\r\n", 505 },
        { "GET * HTTP/1.1\r\n" HOST "\r\n", 400 },
        { "GET http://h/ HTTP/1.1\r\n" HOST "\r\n", 400 },
        { "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400 },
        /* Broken. */
        { "\r\n\r\n", 400 },
        { "GET\r\n\r\n", 400 },
        { "GET /\r\n\r\n", 400 },
        { "GET  / HTTP/1.1\r\n" HOST "\r\n", 400 },
        { "GET / HTTP/1.1 \r\n" HOST "\r\n", 400 },
        { "GET / HTTP/1.1\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400 },
        { "GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" HOST ": no name\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" HOST "Blank : x\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" HOST "A: b\r\n folded\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" HOST "A: b\nB: c\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" HOST "A: b\x01\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" HOST KEY KEY "\r\n", 400 },
};

static void check_protocols(const struct upgrade_request *q, const char *expected) {
        const struct upgrade_protocols *p = q->kind == UPGRADE_WEBSOCKET ? &q->ws_protocols : &q->stream_protocols;
        _cleanup_strbuf_ struct strbuf joined = STRBUF(1000);

        for (size_t i = 0; i < p->n; i++)
                strbuf_printf(&joined, "%s%s", i ? "," : "", p->names[i]);
        assert(str_eq(strbuf_str(&joined), expected));
}

static void check(const struct example *e) {
        size_t len = strlen(e->head);
        struct upgrade_request q;
        char with_more[2000];

        for (size_t n = 0; n < len; n++)
                assert(upgrade_parse(e->head, n, &q) == 0);
        (void) snprintf(with_more, sizeof(with_more), "%smore", e->head);
        if (e->status) {
                assert(upgrade_parse(with_more, len + 4, &q) == -e->status);
                return;
        }
        assert(upgrade_parse(with_more, len + 4, &q) == (ssize_t) len);
        assert(q.kind == e->kind && str_eq(q.path, e->path) && str_eq(q.query, e->query));
        assert(q.is_get == !strncmp(e->head, "GET", 3));
        check_protocols(&q, e->protocols);
        if (q.kind == UPGRADE_WEBSOCKET)
                assert(str_eq(q.ws_key, "dGhlIHNhbXBsZSBub25jZQ==") && q.ws_version_ok);
}

static void test_limits(void) {
        _cleanup_strbuf_ struct strbuf b = STRBUF(1 << 20);
        struct upgrade_request q;

        strbuf_puts(&b, "GET / HTTP/1.1\r\n" HOST);
        for (int i = 0; i < UPGRADE_HEADERS_MAX; i++)
                strbuf_puts(&b, "A: b\r\n");
        strbuf_puts(&b, "\r\n");
        assert(upgrade_parse(b.data, b.len, &q) == -431);

        b.len = 0;
        strbuf_puts(&b, "GET / HTTP/1.1\r\n" HOST "X-Stream-Protocol-Version: ");
        for (int i = 0; i <= UPGRADE_PROTOCOLS_MAX; i++)
                strbuf_puts(&b, "x,");
        strbuf_puts(&b, "\r\n\r\n");
        assert(upgrade_parse(b.data, b.len, &q) == -400);

        b.len = 0;
        strbuf_puts(&b, "GET /");
        for (int i = 0; i < UPGRADE_PATH_MAX; i++)
                strbuf_putc(&b, 'x');
        strbuf_puts(&b, " HTTP/1.1\r\n" HOST "\r\n");
        assert(upgrade_parse(b.data, b.len, &q) == -414);

        while (b.len < UPGRADE_HEAD_MAX)
                strbuf_putc(&b, 'x');
        b.len = UPGRADE_HEAD_MAX;
        memset(b.data, 'x', b.len);
        assert(upgrade_parse(b.data, b.len - 1, &q) == 0);
        assert(upgrade_parse(b.data, b.len, &q) == -431);
}

static void test_answers(void) {
        static const char *const known[] = { "b", "c", NULL };
        struct upgrade_protocols client = { .names = { "a", "c", "b" }, .n = 3 };
        _cleanup_strbuf_ struct strbuf b = STRBUF(4096);

        assert(str_eq(upgrade_choose(&client, known), "c"));
        client.n = 1;
        assert(!upgrade_choose(&client, known));
        /* RFC 6455's example. */
        upgrade_accept_websocket(&b, "dGhlIHNhbXBsZSBub25jZQ==", "chat");
        assert(strstr(b.data, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert(strstr(b.data, "Sec-WebSocket-Protocol: chat\r\n") && str_ends_with(b.data, "\r\n\r\n"));
        strbuf_done(&b);
        upgrade_accept_websocket(&b, "dGhlIHNhbXBsZSBub25jZQ==", NULL);
        assert(!strstr(b.data, "Sec-WebSocket-Protocol"));
        strbuf_done(&b);
        upgrade_accept_spdy(&b, "v4");
        assert(str_eq(b.data, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                              "X-Stream-Protocol-Version: v4\r\n\r\n"));
        strbuf_done(&b);
        upgrade_refuse(&b, 403, known, "no");
        assert(strstr(b.data, "HTTP/1.1 403 Forbidden\r\n") && strstr(b.data, "Content-Length: 3\r\n\r\nno\n"));
        assert(strstr(b.data, "X-Accepted-Stream-Protocol-Versions: b\r\nX-Accepted-Stream-Protocol-Versions: c\r\n"));
}

int main(void) {
        for (size_t i = 0; i < ELEMENTSOF(examples); i++)
                check(&examples[i]);
        test_limits();
        test_answers();
        return 0;
}
