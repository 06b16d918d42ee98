/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/websocket.h"

#include <string.h>

enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f };

static bool is_control(const struct websocket *w) {
        return w->opcode >= WEBSOCKET_CLOSE;
}

/* How long the head is, by what has come of it. */
static size_t head_size(const struct websocket *w) {
        if (w->head_len < 2)
                return 2;
        switch (w->head[1] & LENGTH) {
        case 126:
                return 2 + 2 + 4;
        case 127:
                return 2 + 8 + 4;
        default:
                return 2 + 4;
        }
}

static bool opcode_is_known(unsigned opcode) {
        return opcode <= WEBSOCKET_BINARY || (opcode >= WEBSOCKET_CLOSE && opcode <= WEBSOCKET_PONG);
}

/* What can be said from the first two bytes is said then. */
static int check_start(const struct websocket *w) {
        unsigned opcode = w->head[0] & OPCODE;

        if (w->head[0] & RESERVED || !opcode_is_known(opcode) || !(w->head[1] & MASKED))
                return WEBSOCKET_PROTOCOL_ERROR;
        if (opcode >= WEBSOCKET_CLOSE)
                return !(w->head[0] & FIN) || (w->head[1] & LENGTH) > WEBSOCKET_CONTROL_MAX ? WEBSOCKET_PROTOCOL_ERROR
                                                                                            : 0;
        return (opcode == WEBSOCKET_CONTINUATION) != w->in_message ? WEBSOCKET_PROTOCOL_ERROR : 0;
}

static int start_payload(struct websocket *w) {
        unsigned short_len = w->head[1] & LENGTH;
        size_t n = short_len == 126 ? 2 : short_len == 127 ? 8 : 0;
        uint64_t len = n ? 0 : short_len;

        for (size_t i = 0; i < n; i++)
                len = len << 8 | w->head[2 + i];
        /* The shortest form only, and no sign bit. */
        if ((n == 2 && len < 126) || (n == 8 && (len < 65536 || len >> 63)))
                return WEBSOCKET_PROTOCOL_ERROR;
        memcpy(w->mask, w->head + 2 + n, sizeof(w->mask));
        w->mask_at = 0;
        w->left = len;
        w->fin = w->head[0] & FIN;
        w->opcode = w->head[0] & OPCODE;
        w->in_payload = true;
        w->control_len = 0;
        if (w->opcode == WEBSOCKET_TEXT || w->opcode == WEBSOCKET_BINARY)
                w->in_message = w->starts = true;
        return 0;
}

static int end_control(struct websocket *w) {
        unsigned status = w->control_len >= 2 ? (unsigned) w->control[0] << 8 | w->control[1] : 0;

        if (w->opcode == WEBSOCKET_PING)
                w->handler->ping(w->userdata, w->control, w->control_len);
        if (w->opcode != WEBSOCKET_CLOSE)
                return 0;
        if (w->control_len == 1)
                return WEBSOCKET_PROTOCOL_ERROR;
        w->is_closed = true;
        w->handler->close(w->userdata, status);
        return 0;
}

static void unmask(struct websocket *w, uint8_t *p, size_t n) {
        uint8_t wide[8];
        uint64_t mask, word;
        size_t i = 0;

        for (unsigned k = 0; k < 8; k++)
                wide[k] = w->mask[(w->mask_at + k) & 3];
        memcpy(&mask, wide, sizeof(mask));
        for (; i + 8 <= n; i += 8) {
                memcpy(&word, p + i, sizeof(word));
                word ^= mask;
                memcpy(p + i, &word, sizeof(word));
        }
        for (; i < n; i++)
                p[i] ^= wide[i & 7];
        w->mask_at = (w->mask_at + (unsigned) (n & 3)) & 3;
}

/* A piece of the payload, which may be empty when the frame is. */
static int take_payload(struct websocket *w, uint8_t *p, size_t n) {
        bool starts = w->starts, ends;
        int r = 0;

        unmask(w, p, n);
        w->left -= n;
        ends = w->left == 0;
        if (ends)
                w->in_payload = false;
        if (is_control(w)) {
                if (n)
                        memcpy(w->control + w->control_len, p, n);
                w->control_len += n;
                return ends ? end_control(w) : 0;
        }
        w->starts = false;
        ends = ends && w->fin;
        if (ends)
                w->in_message = false;
        if (n || starts || ends)
                r = w->handler->data(w->userdata, p, n, starts, ends);
        return r;
}

int websocket_feed(struct websocket *w, uint8_t *data, size_t len) {
        size_t n;
        int r = 0;

        while ((len || (w->in_payload && !w->left)) && r == 0 && !w->is_closed) {
                if (w->in_payload) {
                        n = (size_t) MIN_OF((uint64_t) len, w->left);
                        r = take_payload(w, data, n);
                } else {
                        n = MIN_OF(len, head_size(w) - w->head_len);
                        memcpy(w->head + w->head_len, data, n);
                        w->head_len += n;
                        if (w->head_len == 2)
                                r = check_start(w);
                        if (r == 0 && w->head_len == head_size(w)) {
                                r = start_payload(w);
                                w->head_len = 0;
                        }
                }
                data += n;
                len -= n;
        }
        return r;
}

size_t websocket_head(uint8_t head[WEBSOCKET_OUR_HEAD_MAX], enum websocket_opcode opcode, uint64_t len) {
        size_t n = len < 126 ? 0 : len < 65536 ? 2 : 8;

        head[0] = (uint8_t) (FIN | opcode);
        head[1] = n == 0 ? (uint8_t) len : n == 2 ? 126 : 127;
        for (size_t i = 0; i < n; i++)
                head[2 + i] = (uint8_t) (len >> 8 * (n - 1 - i));
        return 2 + n;
}
