/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/spdy-client.h"

#include <assert.h>
#include <string.h>
#include "base/attr.h"

enum {
        TYPE_SYN_STREAM = 1,
        TYPE_SYN_REPLY = 2,
        TYPE_RST_STREAM = 3,
        TYPE_PING = 6,
        TYPE_GOAWAY = 7,
        FLAG_FIN = 1,
        BLOCK_MAX = 1024,
};

static void put_u32(uint8_t *to, uint32_t v) {
        for (int i = 0; i < 4; i++)
                to[i] = (uint8_t) (v >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *from) {
        return (uint32_t) from[0] << 24 | (uint32_t) from[1] << 16 | (uint32_t) from[2] << 8 | from[3];
}

static void put_frame(struct spdy_client *c, uint32_t first, uint8_t flags, size_t len) {
        uint8_t head[SPDY_FRAME_HEAD];

        put_u32(head, first);
        put_u32(head + 4, (uint32_t) flags << 24 | (uint32_t) len);
        queue_append(c->out, head, sizeof(head));
}

static void put_control(struct spdy_client *c, unsigned type, size_t len) {
        put_frame(c, 0x80030000U | type, 0, len);
}

void spdy_client_init(struct spdy_client *c, struct queue *out, const struct spdy_client_handler *handler,
                      void *userdata) {
        *c = (struct spdy_client){ .handler = handler, .userdata = userdata, .out = out };
}

/* ---- streams ---- */

static void block_string(struct strbuf *b, const char *s) {
        uint8_t len[4];

        put_u32(len, (uint32_t) strlen(s));
        strbuf_append(b, len, sizeof(len));
        strbuf_puts(b, s);
}

/* A header block, stored as it is in a block of deflate's and then flushed: nothing has to be compressed. */
static void stored_block(struct spdy_client *c, const char *const *headers, struct strbuf *out) {
        static const uint8_t start[] = { 0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2 }; /* zlib's head, the dictionary's sum */
        static const uint8_t flush[] = { 0x00, 0x00, 0x00, 0xff, 0xff };
        _cleanup_strbuf_ struct strbuf plain = STRBUF(BLOCK_MAX);
        uint8_t head[5] = { 0 }, count[4];
        size_t n = 0;

        while (headers[n])
                n++;
        put_u32(count, (uint32_t) n / 2);
        strbuf_append(&plain, count, sizeof(count));
        for (size_t i = 0; i < n; i++)
                block_string(&plain, headers[i]);
        assert(!plain.overflow);
        head[1] = (uint8_t) plain.len;
        head[2] = (uint8_t) (plain.len >> 8);
        head[3] = (uint8_t) ~head[1];
        head[4] = (uint8_t) ~head[2];
        if (c->last_id == 0)
                strbuf_append(out, start, sizeof(start));
        strbuf_append(out, head, sizeof(head));
        strbuf_append(out, plain.data, plain.len);
        strbuf_append(out, flush, sizeof(flush));
}

uint32_t spdy_client_open(struct spdy_client *c, const char *const *headers) {
        _cleanup_strbuf_ struct strbuf block = STRBUF(BLOCK_MAX + 32);
        uint8_t fixed[10] = { 0 };

        stored_block(c, headers, &block);
        c->last_id = c->last_id ? c->last_id + 2 : 1;
        assert(c->last_id / 2 < SPDY_CLIENT_STREAMS_MAX);
        put_control(c, TYPE_SYN_STREAM, sizeof(fixed) + block.len);
        put_u32(fixed, c->last_id);
        queue_append(c->out, fixed, sizeof(fixed));
        queue_append(c->out, block.data, block.len);
        return c->last_id;
}

void spdy_client_send(struct spdy_client *c, uint32_t id, const void *data, size_t len) {
        assert(len <= SPDY_CLIENT_PIECE_MAX);
        put_frame(c, id, 0, len);
        queue_append(c->out, data, len);
}

void spdy_client_fin(struct spdy_client *c, uint32_t id) {
        put_frame(c, id, FLAG_FIN, 0);
}

/* ---- what comes ---- */

static bool is_ours(const struct spdy_client *c, uint32_t id) {
        return id % 2 == 1 && id <= c->last_id;
}

static void end_stream(struct spdy_client *c, uint32_t id) {
        if (!is_ours(c, id) || c->ended[id / 2])
                return;
        c->ended[id / 2] = true;
        c->handler->ended(c->userdata, id);
}

static bool is_control(const struct spdy_client *c) {
        return c->head[0] & 0x80;
}

static void end_control(struct spdy_client *c) {
        unsigned type = (unsigned) c->head[2] << 8 | c->head[3];
        uint32_t first = c->control_len >= 4 ? get_u32(c->control) : 0;

        switch (type) {
        case TYPE_SYN_REPLY:
                if (is_ours(c, first))
                        c->handler->opened(c->userdata, first);
                if (c->head[4] & FLAG_FIN)
                        end_stream(c, first);
                break;
        case TYPE_RST_STREAM:
                end_stream(c, first);
                break;
        case TYPE_PING:
                /* The server's have even numbers. */
                if (c->control_len < 4 || first % 2)
                        break;
                put_control(c, TYPE_PING, 4);
                queue_append(c->out, c->control, 4);
                break;
        case TYPE_GOAWAY:
                c->is_gone = true;
                break;
        default:
                break;
        }
}

static void end_frame(struct spdy_client *c) {
        c->in_frame = false;
        c->head_len = 0;
        if (is_control(c))
                end_control(c);
        else if (c->head[4] & FLAG_FIN)
                end_stream(c, get_u32(c->head));
}

static void take_payload(struct spdy_client *c, const uint8_t *data, size_t n) {
        uint32_t id = get_u32(c->head);

        c->left -= (uint32_t) n;
        if (!is_control(c)) {
                if (n && is_ours(c, id) && !c->ended[id / 2])
                        c->handler->data(c->userdata, id, data, n);
                return;
        }
        n = MIN_OF(n, sizeof(c->control) - c->control_len);
        memcpy(c->control + c->control_len, data, n);
        c->control_len += n;
}

int spdy_client_feed(struct spdy_client *c, const uint8_t *data, size_t len, struct err *err) {
        while (len) {
                size_t n = c->in_frame ? MIN_OF(len, (size_t) c->left) : MIN_OF(len, sizeof(c->head) - c->head_len);

                if (c->in_frame) {
                        take_payload(c, data, n);
                } else {
                        memcpy(c->head + c->head_len, data, n);
                        c->head_len += n;
                }
                data += n;
                len -= n;
                if (!c->in_frame && c->head_len == sizeof(c->head)) {
                        if (is_control(c) && (c->head[0] != 0x80 || c->head[1] != 3))
                                return err_set(err, ERR_INTERNAL, "the server does not speak SPDY/3.1");
                        c->in_frame = true;
                        c->left = get_u32(c->head + 4) & SPDY_DATA_MAX;
                        c->control_len = 0;
                }
                if (c->in_frame && !c->left)
                        end_frame(c);
        }
        return 0;
}
