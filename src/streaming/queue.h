/* SPDX-License-Identifier: Apache-2.0 */
/* queue - bytes on their way somewhere: appended at the end, taken from the front without moving the rest each time.
 * Has a maximum; holds no memory while it is empty. Private to streaming/. */
#pragma once
#include <stdint.h>
#include "base/strbuf.h"

struct queue {
        struct strbuf bytes;
        size_t taken; /* of the front of "bytes" */
};

enum { QUEUE_COMPACT_BYTES = 64 * 1024 };

#define QUEUE(max_bytes) ((struct queue){ .bytes = STRBUF(max_bytes) })

static inline size_t queue_len(const struct queue *q) {
        return q->bytes.len - q->taken;
}
static inline const uint8_t *queue_front(const struct queue *q) {
        return (const uint8_t *) q->bytes.data + q->taken;
}
static inline void queue_append(struct queue *q, const void *p, size_t n) {
        strbuf_append(&q->bytes, p, n);
}
/* True when bytes were dropped, because the maximum was reached. */
static inline bool queue_overflow(const struct queue *q) {
        return q->bytes.overflow;
}
static inline void queue_done(struct queue *q) {
        strbuf_done(&q->bytes);
        q->taken = 0;
}
static inline void queue_consume(struct queue *q, size_t n) {
        bool overflow = q->bytes.overflow;

        q->taken += n;
        if (q->taken == q->bytes.len) {
                queue_done(q);
                q->bytes.overflow = overflow;
        } else if (q->taken >= QUEUE_COMPACT_BYTES) {
                strbuf_consume(&q->bytes, q->taken);
                q->taken = 0;
        }
}
