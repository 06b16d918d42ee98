/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/wire.h"

#include <assert.h>
#include "base/log.h"

static void put_message_head(struct wire *w, enum websocket_opcode opcode, size_t len) {
        uint8_t head[WEBSOCKET_OUR_HEAD_MAX];

        queue_append(w->out, head, websocket_head(head, opcode, len));
}

static void put_message(struct wire *w, enum websocket_opcode opcode, const void *data, size_t len) {
        put_message_head(w, opcode, len);
        queue_append(w->out, data, len);
}

static void put_close(struct wire *w, unsigned status) {
        uint8_t payload[2] = { (uint8_t) (status >> 8), (uint8_t) status };

        if (w->is_closed)
                return;
        w->is_closed = true;
        put_message(w, WEBSOCKET_CLOSE, payload, sizeof(payload));
}

/* ---- SPDY's side ---- */

static void on_spdy_opened(void *userdata, uint32_t id, const struct spdy_headers *headers) {
        struct wire *w = userdata;
        w->handler->opened(w->userdata, id, headers);
}

static void on_spdy_data(void *userdata, uint32_t id, const uint8_t *data, size_t len) {
        struct wire *w = userdata;
        w->handler->data(w->userdata, id, data, len);
}

static void on_spdy_ended(void *userdata, uint32_t id, bool reset) {
        struct wire *w = userdata;
        w->handler->ended(w->userdata, id, reset);
}

static void on_spdy_goaway(void *userdata) {
        struct wire *w = userdata;
        w->peer_is_gone = true;
}

static void on_spdy_write(void *userdata, const void *data, size_t len) {
        struct wire *w = userdata;

        /* The borders of messages mean nothing in a tunnel. */
        if (w->kind == WIRE_TUNNEL)
                put_message_head(w, WEBSOCKET_BINARY, len);
        queue_append(w->out, data, len);
}

static const struct spdy_handler spdy_side = {
        .opened = on_spdy_opened,
        .data = on_spdy_data,
        .ended = on_spdy_ended,
        .goaway = on_spdy_goaway,
        .write = on_spdy_write,
};

static bool feed_spdy(struct wire *w, const uint8_t *data, size_t len) {
        struct err err;

        if (spdy_feed(&w->spdy, data, len, &err) == 0)
                return true;
        log_debug("streaming: connection ended", "error", err.msg, NULL);
        spdy_goaway(&w->spdy, SPDY_GOAWAY_PROTOCOL_ERROR);
        return false;
}

/* ---- WebSocket's side ---- */

static void hand_on(struct wire *w, const uint8_t *data, size_t len) {
        if (!w->has_close_channel || w->channel != WIRE_CLOSE_CHANNEL) {
                if (len)
                        w->handler->data(w->userdata, w->channel, data, len);
                return;
        }
        /* [255, channel]: no more will come there. */
        for (size_t i = 0; i < len; i++)
                w->handler->ended(w->userdata, data[i], false);
}

static int take_base64(struct wire *w, const uint8_t *data, size_t len, bool end) {
        uint8_t plain[3 * 256];

        while (len) {
                size_t n = MIN_OF(len, (size_t) 1000);
                ssize_t plain_len = base64_decode(&w->base64, data, n, plain);

                if (plain_len < 0)
                        return WEBSOCKET_BAD_DATA;
                hand_on(w, plain, (size_t) plain_len);
                data += n;
                len -= n;
        }
        return end && !base64_complete(&w->base64) ? WEBSOCKET_BAD_DATA : 0;
}

static int on_ws_data(void *userdata, const uint8_t *data, size_t len, bool start, bool end) {
        struct wire *w = userdata;

        if (w->kind == WIRE_TUNNEL)
                return feed_spdy(w, data, len) ? 0 : WEBSOCKET_PROTOCOL_ERROR;
        if (start) {
                w->has_channel = false;
                w->base64 = (struct base64_decoder){ 0 };
        }
        if (len && !w->has_channel) {
                w->has_channel = true;
                w->channel = w->kind == WIRE_BASE64 ? (uint8_t) (data[0] - '0') : data[0];
                data++;
                len--;
        }
        if (w->kind == WIRE_BASE64)
                return take_base64(w, data, len, end);
        hand_on(w, data, len);
        return 0;
}

static void on_ws_ping(void *userdata, const uint8_t *data, size_t len) {
        struct wire *w = userdata;
        if (!w->is_closed)
                put_message(w, WEBSOCKET_PONG, data, len);
}

static void on_ws_close(void *userdata, unsigned status) {
        struct wire *w = userdata;

        w->peer_is_gone = true;
        put_close(w, WEBSOCKET_NORMAL);
}

static const struct websocket_handler ws_side = { .data = on_ws_data, .ping = on_ws_ping, .close = on_ws_close };

/* ---- the whole ---- */

void wire_init(struct wire *w, enum wire_kind kind, bool has_close_channel, size_t max_streams, struct queue *out,
               const struct wire_handler *handler, void *userdata) {
        *w = (struct wire){
                .kind = kind,
                .has_close_channel = has_close_channel,
                .handler = handler,
                .userdata = userdata,
                .out = out,
                .ws = { .handler = &ws_side, .userdata = w },
        };
        spdy_init(&w->spdy, max_streams, &spdy_side, w);
}

void wire_done(struct wire *w) {
        spdy_done(&w->spdy);
}

bool wire_feed(struct wire *w, uint8_t *data, size_t len) {
        int status;

        if (w->kind == WIRE_SPDY)
                return feed_spdy(w, data, len);
        status = websocket_feed(&w->ws, data, len);
        if (status == 0)
                return true;
        log_debug("streaming: WebSocket connection ended", "status", LOG_I64(status), NULL);
        put_close(w, (unsigned) status);
        return false;
}

void wire_accept(struct wire *w, uint32_t channel) {
        if (wire_is_spdy(w))
                spdy_reply(&w->spdy, channel);
}

static void send_base64(struct wire *w, uint32_t channel, const uint8_t *data, size_t len) {
        char *to;

        put_message_head(w, WEBSOCKET_TEXT, 1 + BASE64_LEN(len));
        strbuf_putc(&w->out->bytes, (char) ('0' + channel));
        to = strbuf_reserve(&w->out->bytes, BASE64_LEN(len));
        if (to)
                w->out->bytes.len += base64_encode(data, len, to);
}

void wire_send(struct wire *w, uint32_t channel, const void *data, size_t len) {
        uint8_t number = (uint8_t) channel;

        assert(len <= WIRE_PIECE_MAX);
        if (w->is_closed)
                return;
        switch (w->kind) {
        case WIRE_SPDY:
        case WIRE_TUNNEL:
                spdy_send(&w->spdy, channel, data, len);
                break;
        case WIRE_CHANNELS:
                put_message_head(w, WEBSOCKET_BINARY, 1 + len);
                queue_append(w->out, &number, 1);
                queue_append(w->out, data, len);
                break;
        case WIRE_BASE64:
                send_base64(w, channel, data, len);
                break;
        }
}

void wire_fin(struct wire *w, uint32_t channel) {
        if (wire_is_spdy(w) && !w->is_closed)
                spdy_fin(&w->spdy, channel);
}

void wire_reset(struct wire *w, uint32_t channel, enum spdy_status status) {
        if (wire_is_spdy(w) && !w->is_closed)
                spdy_reset(&w->spdy, channel, status);
}

void wire_close(struct wire *w) {
        if (w->is_closed)
                return;
        if (wire_is_spdy(w))
                spdy_close(&w->spdy);
        if (w->kind == WIRE_SPDY)
                w->is_closed = true;
        else
                put_close(w, WEBSOCKET_NORMAL);
}

void wire_keepalive(struct wire *w) {
        if (w->kind != WIRE_SPDY && !w->is_closed)
                put_message(w, WEBSOCKET_PONG, NULL, 0);
}
