/* SPDX-License-Identifier: Apache-2.0 */
/* websocket - a WebSocket connection of each kind (channels, base64, v5, tunnel) without a socket. Input: a byte for
 * the kind, one for how it is cut, then the client's bytes. However they are cut, the same comes of them. */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "streaming/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct session {
        struct wire wire;
        struct queue out;
        struct strbuf events;
        uint32_t last;
};

static void on_opened(void *userdata, uint32_t channel, const struct spdy_headers *headers) {
        struct session *s = userdata;
        wire_accept(&s->wire, channel);
}

static void on_data(void *userdata, uint32_t channel, const uint8_t *data, size_t len) {
        struct session *s = userdata;

        assert(len > 0);
        if (channel != s->last)
                strbuf_printf(&s->events, "\n%u:", channel);
        s->last = channel;
        strbuf_append(&s->events, data, len);
}

static void on_ended(void *userdata, uint32_t channel, bool reset) {
        struct session *s = userdata;

        s->last = UINT32_MAX;
        strbuf_printf(&s->events, "\nend %u %d", channel, reset);
}

static const struct wire_handler handler = { .opened = on_opened, .data = on_data, .ended = on_ended };

static bool run(struct session *s, unsigned kind, const uint8_t *data, size_t size, size_t piece) {
        static const enum wire_kind kinds[] = { WIRE_CHANNELS, WIRE_CHANNELS, WIRE_BASE64, WIRE_TUNNEL };
        bool ok = true;

        s->out = QUEUE(1 << 20);
        s->events = STRBUF(1 << 20);
        s->last = UINT32_MAX;
        wire_init(&s->wire, kinds[kind % 4], kind % 4 == 1, 8, &s->out, &handler, s);
        for (size_t at = 0, n; at < size && ok; at += n) {
                uint8_t *copy;

                n = MIN_OF(piece, size - at);
                copy = malloc(n);
                assert(copy);
                memcpy(copy, data + at, n);
                ok = wire_feed(&s->wire, copy, n);
                free(copy);
        }
        return ok;
}

static void done(struct session *s) {
        wire_close(&s->wire);
        wire_done(&s->wire);
        queue_done(&s->out);
        strbuf_done(&s->events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct session whole, cut;
        bool a, b;

        if (size < 3 || size > 16384)
                return 0;
        a = run(&whole, data[0], data + 2, size - 2, SIZE_MAX);
        b = run(&cut, data[0], data + 2, size - 2, data[1] % 16u + 1);
        assert(a == b && whole.wire.peer_is_gone == cut.wire.peer_is_gone);
        /* A message that turns out broken is handed on up to there, or up to the cut before. */
        if (a) {
                assert(whole.events.len == cut.events.len);
                assert(!whole.events.len || memcmp(whole.events.data, cut.events.data, cut.events.len) == 0);
                assert(queue_len(&whole.out) == queue_len(&cut.out));
        }
        assert(queue_len(&whole.out) <= 8 * size + 64);
        done(&whole);
        done(&cut);
        return 0;
}
