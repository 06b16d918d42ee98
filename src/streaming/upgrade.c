/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/upgrade.h"

#include <ctype.h>
#include <openssl/sha.h>
#include <string.h>
#include <strings.h>
#include "base/str.h"
#include "base/base64.h"

struct slice {
        const char *p;
        size_t n;
};

struct head {
        struct upgrade_request *request;
        unsigned hosts;
        bool connection_upgrade, upgrade_websocket, upgrade_spdy;
};

static bool slice_is(struct slice s, const char *word) {
        return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

static struct slice trimmed(struct slice s) {
        while (s.n && is_blank(s.p[0]))
                s.p++, s.n--;
        while (s.n && is_blank(s.p[s.n - 1]))
                s.n--;
        return s;
}

/* The next element of a comma-separated list. */
static bool next_element(struct slice *list, struct slice *ret) {
        const char *comma;

        if (!list->p)
                return false;
        comma = memchr(list->p, ',', list->n);
        *ret = (struct slice){ list->p, comma ? (size_t) (comma - list->p) : list->n };
        *list = comma ? (struct slice){ comma + 1, list->n - ret->n - 1 } : (struct slice){ 0 };
        *ret = trimmed(*ret);
        return true;
}

static bool list_has(struct slice list, const char *word) {
        struct slice element;

        while (next_element(&list, &element))
                if (slice_is(element, word))
                        return true;
        return false;
}

static bool is_token(struct slice s) {
        if (!s.n)
                return false;
        for (size_t i = 0; i < s.n; i++)
                if (!isalnum((unsigned char) s.p[i]) && !(s.p[i] && strchr("!#$%&'*+-.^_`|~", s.p[i])))
                        return false;
        return true;
}

/* A name that no server has is of no use: one that is too long, or not a name, is left out. */
static int add_protocols(struct upgrade_protocols *to, struct slice list) {
        struct slice e;

        while (next_element(&list, &e)) {
                if (!e.n || e.n >= UPGRADE_PROTOCOL_MAX)
                        continue;
                if (to->n == UPGRADE_PROTOCOLS_MAX)
                        return -400;
                memcpy(to->names[to->n], e.p, e.n);
                to->names[to->n++][e.n] = '\0';
        }
        return 0;
}

static int take_header(struct head *h, struct slice name, struct slice value) {
        struct upgrade_request *q = h->request;

        if (slice_is(name, "Connection")) {
                h->connection_upgrade |= list_has(value, "upgrade");
        } else if (slice_is(name, "Upgrade")) {
                h->upgrade_websocket |= list_has(value, "websocket");
                h->upgrade_spdy |= list_has(value, "SPDY/3.1");
        } else if (slice_is(name, "Host")) {
                h->hosts++;
        } else if (slice_is(name, "X-Stream-Protocol-Version")) {
                return add_protocols(&q->stream_protocols, value);
        } else if (slice_is(name, "Sec-WebSocket-Protocol")) {
                return add_protocols(&q->ws_protocols, value);
        } else if (slice_is(name, "Sec-WebSocket-Version")) {
                q->ws_version_ok = slice_is(value, "13");
        } else if (slice_is(name, "Sec-WebSocket-Key")) {
                if (*q->ws_key)
                        return -400;
                if (value.n == UPGRADE_KEY_LEN)
                        memcpy(q->ws_key, value.p, value.n);
        } else if (slice_is(name, "Transfer-Encoding") || (slice_is(name, "Content-Length") && !slice_is(value, "0"))) {
                /* What follows the head is the upgraded protocol, never a body. */
                return -400;
        }
        return 0;
}

static int parse_header(struct head *h, struct slice line) {
        const char *colon = memchr(line.p, ':', line.n);
        struct slice name, value;

        if (!colon)
                return -400;
        name = (struct slice){ line.p, (size_t) (colon - line.p) };
        value = trimmed((struct slice){ colon + 1, line.n - name.n - 1 });
        if (!is_token(name))
                return -400;
        for (size_t i = 0; i < value.n; i++)
                if (((unsigned char) value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] == 0x7f)
                        return -400;
        return take_header(h, name, value);
}

static int parse_target(struct upgrade_request *q, struct slice target) {
        const char *mark = memchr(target.p, '?', target.n);
        size_t path_len = mark ? (size_t) (mark - target.p) : target.n;
        size_t query_len = mark ? target.n - path_len - 1 : 0;

        if (!target.n || target.p[0] != '/')
                return -400;
        for (size_t i = 0; i < target.n; i++)
                if ((unsigned char) target.p[i] <= ' ' || (unsigned char) target.p[i] >= 0x7f)
                        return -400;
        if (path_len >= UPGRADE_PATH_MAX || query_len >= UPGRADE_QUERY_MAX)
                return -414;
        memcpy(q->path, target.p, path_len);
        if (mark)
                memcpy(q->query, mark + 1, query_len);
        return 0;
}

static int parse_request_line(struct upgrade_request *q, struct slice line) {
        const char *first = memchr(line.p, ' ', line.n), *last = memrchr(line.p, ' ', line.n);
        struct slice method, target, version;

        if (!first || first == last)
                return -400;
        method = (struct slice){ line.p, (size_t) (first - line.p) };
        target = (struct slice){ first + 1, (size_t) (last - first) - 1 };
        version = (struct slice){ last + 1, line.n - (size_t) (last - line.p) - 1 };
        if (!is_token(method) || version.n != 8 || memcmp(version.p, "HTTP/", 5) != 0)
                return -400;
        if (memcmp(version.p, "HTTP/1.1", 8) != 0)
                return -505;
        if (method.n == 3 && memcmp(method.p, "GET", 3) == 0)
                q->is_get = true;
        else if (method.n != 4 || memcmp(method.p, "POST", 4) != 0)
                return -405;
        return parse_target(q, target);
}

/* @head ends with the blank line. */
static int parse_head(struct head *h, struct slice head) {
        unsigned n = 0;
        int r = 0;

        for (const char *p = head.p, *end = head.p + head.n - 2; p < end && r == 0; n++) {
                const char *eol = memmem(p, (size_t) (head.p + head.n - p), "\r\n", 2);
                struct slice line = { p, (size_t) (eol - p) };

                if (memchr(line.p, '\n', line.n) || memchr(line.p, '\r', line.n) || memchr(line.p, '\0', line.n))
                        return -400;
                if (n > UPGRADE_HEADERS_MAX)
                        return -431;
                r = n ? parse_header(h, line) : parse_request_line(h->request, line);
                p = eol + 2;
        }
        return r;
}

ssize_t upgrade_parse(const char *data, size_t len, struct upgrade_request *ret) {
        const char *end = len ? memmem(data, MIN_OF(len, (size_t) UPGRADE_HEAD_MAX), "\r\n\r\n", 4) : NULL;
        struct head h = { .request = ret };
        size_t head_len;
        int r;

        *ret = (struct upgrade_request){ 0 };
        if (!end)
                return len >= UPGRADE_HEAD_MAX ? -431 : 0;
        head_len = (size_t) (end - data) + 4;
        r = parse_head(&h, (struct slice){ data, head_len });
        if (r < 0)
                return r;
        if (h.hosts != 1)
                return -400;
        if (h.connection_upgrade)
                ret->kind = h.upgrade_websocket ? UPGRADE_WEBSOCKET : h.upgrade_spdy ? UPGRADE_SPDY : UPGRADE_NONE;
        return (ssize_t) head_len;
}

const char *upgrade_choose(const struct upgrade_protocols *client, const char *const *server) {
        for (size_t i = 0; i < client->n; i++)
                for (const char *const *s = server; *s; s++)
                        if (str_eq(client->names[i], *s))
                                return *s;
        return NULL;
}

void upgrade_accept_spdy(struct strbuf *out, const char *protocol) {
        strbuf_printf(out,
                      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                      "X-Stream-Protocol-Version: %s\r\n\r\n",
                      protocol);
}

void upgrade_accept_websocket(struct strbuf *out, const char *key, const char *protocol) {
        static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
        char joined[UPGRADE_KEY_LEN + sizeof(guid)], accept[BASE64_LEN(SHA_DIGEST_LENGTH) + 1];
        unsigned char digest[SHA_DIGEST_LENGTH];

        memcpy(joined, key, UPGRADE_KEY_LEN);
        memcpy(joined + UPGRADE_KEY_LEN, guid, sizeof(guid));
        (void) SHA1((const unsigned char *) joined, sizeof(joined) - 1, digest);
        accept[base64_encode(digest, sizeof(digest), accept)] = '\0';
        strbuf_printf(out,
                      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                      "Sec-WebSocket-Accept: %s\r\n",
                      accept);
        if (protocol)
                strbuf_printf(out, "Sec-WebSocket-Protocol: %s\r\n", protocol);
        strbuf_puts(out, "\r\n");
}

static const char *reason_phrase(int status) {
        static const struct {
                int status;
                const char *phrase;
        } table[] = {
                { 400, "Bad Request" },         { 403, "Forbidden" },
                { 404, "Not Found" },           { 405, "Method Not Allowed" },
                { 408, "Request Timeout" },     { 414, "URI Too Long" },
                { 426, "Upgrade Required" },    { 431, "Request Header Fields Too Large" },
                { 503, "Service Unavailable" }, { 505, "HTTP Version Not Supported" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (table[i].status == status)
                        return table[i].phrase;
        return "Error";
}

void upgrade_refuse(struct strbuf *out, int status, const char *const *accepted, const char *message) {
        strbuf_printf(out, "HTTP/1.1 %d %s\r\nConnection: close\r\n", status, reason_phrase(status));
        if (status == 405)
                strbuf_puts(out, "Allow: GET, POST\r\n");
        if (status == 426)
                strbuf_puts(out, "Sec-WebSocket-Version: 13\r\n");
        for (; accepted && *accepted; accepted++)
                strbuf_printf(out, "X-Accepted-Stream-Protocol-Versions: %s\r\n", *accepted);
        strbuf_printf(out, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n\r\n%s\n",
                      strlen(message) + 1, message);
}
