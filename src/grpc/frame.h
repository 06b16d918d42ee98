/* SPDX-License-Identifier: Apache-2.0 */
/* frame - gRPC's length-prefixed messages: one byte "compressed", four bytes length, the message. No I/O. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/strbuf.h"

enum { FRAME_HEAD_BYTES = 5 };

struct frame_parser {
        uint8_t head[FRAME_HEAD_BYTES];
        size_t head_len;
        bool complete;
        bool compressed;
        struct strbuf body; /* what has arrived of the message; its maximum is the parser's */
};

void frame_parser_init(struct frame_parser *p, size_t max_message_bytes);
void frame_parser_done(struct frame_parser *p);

/* Take bytes up to the end of one message; @ret_used says how many. When @p->complete is set the message is in
 * @p->body (take or leave it), and frame_parser_next() makes ready for the next one. Memory grows with what has
 * arrived, not with what was announced. ERR_EXHAUSTED for a message longer than the maximum, ERR_INTERNAL for a broken
 * prefix. */
_must_use_ int frame_feed(struct frame_parser *p, const void *data, size_t len, size_t *ret_used, struct err *err);
void frame_parser_next(struct frame_parser *p);

/* True between messages: nothing has arrived of the next one. */
static inline bool frame_parser_idle(const struct frame_parser *p) {
        return p->head_len == 0;
}

/* Write the prefix of an uncompressed message of @len bytes. */
void frame_head(uint8_t head[FRAME_HEAD_BYTES], uint32_t len);

/* Undo grpc-encoding gzip: @ret is appended to up to its maximum (ERR_EXHAUSTED past it: a bomb costs no more than
 * that). ERR_INTERNAL when @data is not gzip. */
_must_use_ int frame_gunzip(const void *data, size_t len, struct strbuf *ret, struct err *err);
