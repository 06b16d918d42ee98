/* SPDX-License-Identifier: Apache-2.0 */
/* strbuf - a growing byte buffer with a maximum, always NUL-terminated. Not thread-safe.
 * Appending past the maximum sets "overflow" and drops the bytes: check once, at the end. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include "base/attr.h"

struct strbuf {
        char *data; /* NULL until the first append; use strbuf_str() for a string that is never NULL */
        size_t len, cap, max;
        bool overflow;
};

#define STRBUF(max_bytes) ((struct strbuf){ .max = (max_bytes) })
#define _cleanup_strbuf_ _cleanup_(strbuf_done)

void strbuf_append(struct strbuf *b, const void *p, size_t n);
void strbuf_puts(struct strbuf *b, const char *s);
void strbuf_putc(struct strbuf *b, char c);
_printf_(2, 3) void strbuf_printf(struct strbuf *b, const char *fmt, ...);
/* Make room for @n more bytes and return where they go (then add to len), or NULL past the maximum. */
char *strbuf_reserve(struct strbuf *b, size_t n);
/* Drop the first @n bytes. */
void strbuf_consume(struct strbuf *b, size_t n);
char *strbuf_take(struct strbuf *b); /* caller frees; never NULL */
void strbuf_done(struct strbuf *b);
static inline const char *strbuf_str(const struct strbuf *b) {
        return b->data ? b->data : "";
}
