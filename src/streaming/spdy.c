/* SPDX-License-Identifier: Apache-2.0 */
#include "streaming/spdy.h"

#include <string.h>
#include "base/alloc.h"

enum frame_type {
        SYN_STREAM = 1,
        SYN_REPLY = 2,
        RST_STREAM = 3,
        SETTINGS = 4,
        PING = 6,
        GOAWAY = 7,
        HEADERS = 8,
        WINDOW_UPDATE = 9,
};

enum { FLAG_FIN = 1, FLAG_UNIDIRECTIONAL = 2, VERSION = 3, ID_MASK = 0x7fffffff, SYN_STREAM_HEAD = 10 };

void spdy_init(struct spdy *s, size_t max_streams, const struct spdy_handler *handler, void *userdata) {
        *s = (struct spdy){
                .handler = handler,
                .userdata = userdata,
                .max_streams = max_streams,
                .control = STRBUF(SPDY_CONTROL_MAX),
                .block = STRBUF(SPDY_BLOCK_MAX),
        };
}

void spdy_done(struct spdy *s) {
        s->inflater = spdy_inflater_free(s->inflater);
        strbuf_done(&s->control);
        strbuf_done(&s->block);
        free(s->streams);
        s->streams = NULL;
        s->n_streams = s->cap_streams = 0;
}

static uint32_t get_u32(const uint8_t *p) {
        return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static void put_u32(uint8_t *p, uint32_t v) {
        p[0] = (uint8_t) (v >> 24);
        p[1] = (uint8_t) (v >> 16);
        p[2] = (uint8_t) (v >> 8);
        p[3] = (uint8_t) v;
}

/* ---- streams ---- */

static struct spdy_stream *find_stream(struct spdy *s, uint32_t id) {
        size_t from = 0, to = s->n_streams;

        while (from < to) {
                size_t mid = from + (to - from) / 2;

                if (s->streams[mid].id == id)
                        return &s->streams[mid];
                if (s->streams[mid].id < id)
                        from = mid + 1;
                else
                        to = mid;
        }
        return NULL;
}

static void drop_stream(struct spdy *s, struct spdy_stream *st) {
        size_t i = (size_t) (st - s->streams);

        s->n_streams--;
        memmove(st, st + 1, (s->n_streams - i) * sizeof(*st));
}

static void drop_if_over(struct spdy *s, struct spdy_stream *st) {
        if (st->local_closed && st->remote_closed)
                drop_stream(s, st);
}

/* ---- out ---- */

static void write_control(struct spdy *s, enum frame_type type, uint8_t flags, uint8_t *frame, size_t payload_len) {
        put_u32(frame, UINT32_C(1) << 31 | (uint32_t) VERSION << 16 | (uint32_t) type);
        put_u32(frame + 4, (uint32_t) flags << 24 | (uint32_t) payload_len);
        s->handler->write(s->userdata, frame, SPDY_FRAME_HEAD + payload_len);
}

static void write_two(struct spdy *s, enum frame_type type, uint32_t a, uint32_t b) {
        uint8_t frame[SPDY_FRAME_HEAD + 8];

        put_u32(frame + SPDY_FRAME_HEAD, a);
        put_u32(frame + SPDY_FRAME_HEAD + 4, b);
        write_control(s, type, 0, frame, 8);
}

static void write_data(struct spdy *s, uint32_t id, uint8_t flags, const void *data, size_t len) {
        uint8_t head[SPDY_FRAME_HEAD];

        put_u32(head, id);
        put_u32(head + 4, (uint32_t) flags << 24 | (uint32_t) len);
        s->handler->write(s->userdata, head, sizeof(head));
        if (len)
                s->handler->write(s->userdata, data, len);
}

void spdy_reply(struct spdy *s, uint32_t id) {
        uint8_t frame[SPDY_FRAME_HEAD + 4 + SPDY_EMPTY_BLOCK_MAX];
        struct spdy_stream *st = find_stream(s, id);
        size_t n;

        if (!st || st->replied)
                return;
        st->replied = true;
        put_u32(frame + SPDY_FRAME_HEAD, id);
        n = spdy_empty_block(!s->has_replied, frame + SPDY_FRAME_HEAD + 4);
        s->has_replied = true;
        write_control(s, SYN_REPLY, 0, frame, 4 + n);
}

void spdy_send(struct spdy *s, uint32_t id, const void *data, size_t len) {
        struct spdy_stream *st = find_stream(s, id);
        const uint8_t *p = data;

        if (!st || st->local_closed)
                return;
        while (len) {
                size_t n = MIN_OF(len, (size_t) SPDY_DATA_MAX);

                write_data(s, id, 0, p, n);
                p += n;
                len -= n;
        }
}

void spdy_fin(struct spdy *s, uint32_t id) {
        struct spdy_stream *st = find_stream(s, id);

        if (!st || st->local_closed)
                return;
        write_data(s, id, FLAG_FIN, NULL, 0);
        st->local_closed = true;
        drop_if_over(s, st);
}

void spdy_reset(struct spdy *s, uint32_t id, enum spdy_status status) {
        struct spdy_stream *st = find_stream(s, id);

        if (!st)
                return;
        write_two(s, RST_STREAM, id, status);
        drop_stream(s, st);
}

void spdy_goaway(struct spdy *s, uint32_t status) {
        write_two(s, GOAWAY, s->last_id, status);
}

void spdy_close(struct spdy *s) {
        while (s->n_streams)
                spdy_reset(s, s->streams[0].id, SPDY_CANCEL);
        spdy_goaway(s, SPDY_GOAWAY_OK);
}

/* ---- in ---- */

static enum frame_type frame_type(const struct spdy *s) {
        return (enum frame_type)(s->head[2] << 8 | s->head[3]);
}

/* Every header block has to be inflated, whatever becomes of its stream: they are one zlib stream. */
static int inflate_block(struct spdy *s, size_t at, struct err *err) {
        if (!s->inflater)
                s->inflater = spdy_inflater_new();
        return spdy_inflate(s->inflater, (const uint8_t *) s->control.data + at, s->control.len - at, &s->block, err);
}

static int on_syn_stream(struct spdy *s, struct err *err) {
        uint32_t id = get_u32((const uint8_t *) s->control.data) & ID_MASK;
        uint8_t flags = s->head[4];
        struct spdy_headers headers;
        struct err broken;
        int r;

        r = inflate_block(s, SYN_STREAM_HEAD, err);
        if (r < 0)
                return r;
        if (id % 2 == 0 || id <= s->last_id) {
                /* A stream of that number that lives goes with it. */
                struct spdy_stream *st = find_stream(s, id);

                write_two(s, RST_STREAM, id, SPDY_PROTOCOL_ERROR);
                if (!st)
                        return 0;
                drop_stream(s, st);
                s->handler->ended(s->userdata, id, true);
                return 0;
        }
        s->last_id = id;
        if (spdy_headers_parse(&s->block, &headers, &broken) < 0) {
                write_two(s, RST_STREAM, id, SPDY_PROTOCOL_ERROR);
                return 0;
        }
        if (s->n_streams >= s->max_streams || flags & FLAG_UNIDIRECTIONAL) {
                write_two(s, RST_STREAM, id, SPDY_REFUSED_STREAM);
                return 0;
        }
        xgrow(s->streams, s->n_streams, s->cap_streams);
        s->streams[s->n_streams++] = (struct spdy_stream){ .id = id, .remote_closed = flags & FLAG_FIN };
        s->handler->opened(s->userdata, id, &headers);
        if (flags & FLAG_FIN && find_stream(s, id))
                s->handler->ended(s->userdata, id, false);
        return 0;
}

/* The client does not open streams by these, but they move the compression on. */
static int on_late_headers(struct spdy *s, struct err *err) {
        return inflate_block(s, 4, err);
}

static void on_rst_stream(struct spdy *s) {
        struct spdy_stream *st = find_stream(s, get_u32((const uint8_t *) s->control.data) & ID_MASK);
        uint32_t id;

        if (!st)
                return;
        id = st->id;
        drop_stream(s, st);
        s->handler->ended(s->userdata, id, true);
}

static void on_ping(struct spdy *s) {
        uint8_t frame[SPDY_FRAME_HEAD + 4];
        uint32_t id = get_u32((const uint8_t *) s->control.data);

        /* Even ones would be answers to ours, which we don't send. */
        if (id % 2 == 0)
                return;
        put_u32(frame + SPDY_FRAME_HEAD, id);
        write_control(s, PING, 0, frame, 4);
}

/* The least payload of a frame that is kept, or 0: it is skipped. */
static size_t least_payload(enum frame_type type) {
        switch (type) {
        case SYN_STREAM:
                return SYN_STREAM_HEAD;
        case SYN_REPLY:
        case HEADERS:
        case PING:
                return 4;
        case RST_STREAM:
        case GOAWAY:
                return 8;
        case SETTINGS:
        case WINDOW_UPDATE:
                break;
        }
        return 0;
}

static int on_control(struct spdy *s, struct err *err) {
        switch (frame_type(s)) {
        case SYN_STREAM:
                return on_syn_stream(s, err);
        case SYN_REPLY:
        case HEADERS:
                return on_late_headers(s, err);
        case RST_STREAM:
                on_rst_stream(s);
                return 0;
        case PING:
                on_ping(s);
                return 0;
        case GOAWAY:
                s->handler->goaway(s->userdata);
                return 0;
        case SETTINGS:
        case WINDOW_UPDATE:
                break;
        }
        return 0;
}

static void on_data(struct spdy *s, const uint8_t *data, size_t n) {
        uint32_t id = get_u32(s->head) & ID_MASK;
        struct spdy_stream *st = find_stream(s, id);
        bool is_last = s->left == 0 && s->head[4] & FLAG_FIN;

        if (!st) {
                /* Of a stream that we have reset, perhaps; of one that never was, certainly not. */
                if (id > s->last_id && s->left == 0)
                        write_two(s, RST_STREAM, id, SPDY_INVALID_STREAM);
                return;
        }
        if (st->remote_closed) {
                if (s->left == 0)
                        write_two(s, RST_STREAM, id, SPDY_ALREADY_CLOSED);
                return;
        }
        if (n)
                s->handler->data(s->userdata, id, data, n);
        if (!is_last)
                return;
        st = find_stream(s, id); /* may have gone meanwhile */
        if (!st)
                return;
        st->remote_closed = true;
        drop_if_over(s, st);
        s->handler->ended(s->userdata, id, false);
}

static int start_frame(struct spdy *s, struct err *err) {
        size_t least;

        s->left = get_u32(s->head + 4) & 0xffffff;
        s->in_frame = true;
        s->is_kept = false;
        if (!(s->head[0] & 0x80))
                return 0;
        if (((s->head[0] & 0x7f) << 8 | s->head[1]) != VERSION)
                return err_set(err, ERR_INVALID, "spdy: version %d", (s->head[0] & 0x7f) << 8 | s->head[1]);
        least = least_payload(frame_type(s));
        if (!least)
                return 0;
        if (s->left < least)
                return err_set(err, ERR_INVALID, "spdy: control frame cut short");
        if (s->left > SPDY_CONTROL_MAX)
                return err_set(err, ERR_EXHAUSTED, "spdy: control frame of %u bytes", s->left);
        s->is_kept = true;
        return 0;
}

static int take_payload(struct spdy *s, const uint8_t *data, size_t n, struct err *err) {
        int r = 0;

        s->left -= (uint32_t) n;
        if (s->left == 0) {
                s->in_frame = false;
                s->head_len = 0;
        }
        if (!(s->head[0] & 0x80)) {
                on_data(s, data, n);
        } else if (s->is_kept) {
                strbuf_append(&s->control, data, n);
                if (s->left == 0) {
                        r = on_control(s, err);
                        strbuf_done(&s->control);
                        strbuf_done(&s->block);
                }
        }
        return r;
}

int spdy_feed(struct spdy *s, const uint8_t *data, size_t len, struct err *err) {
        size_t n;
        int r = 0;

        while ((len || (s->in_frame && !s->left)) && r == 0) {
                if (s->in_frame) {
                        n = MIN_OF(len, (size_t) s->left);
                        r = take_payload(s, data, n, err);
                } else {
                        n = MIN_OF(len, SPDY_FRAME_HEAD - s->head_len);
                        memcpy(s->head + s->head_len, data, n);
                        s->head_len += n;
                        if (s->head_len == SPDY_FRAME_HEAD)
                                r = start_frame(s, err);
                }
                data += n;
                len -= n;
        }
        return r;
}
