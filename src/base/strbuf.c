/* SPDX-License-Identifier: Apache-2.0 */
#include "base/strbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"

char *strbuf_reserve(struct strbuf *b, size_t n) {
        size_t cap;

        if (n > b->max || b->len > b->max - n) {
                b->overflow = true;
                return NULL;
        }
        if (b->len + n + 1 > b->cap) {
                cap = MAX_OF(b->cap * 2, (size_t) 64);
                cap = MAX_OF(cap, b->len + n + 1);
                b->data = xrealloc(b->data, cap, 1);
                b->cap = cap;
        }
        b->data[b->len + n] = '\0';
        return b->data + b->len;
}

void strbuf_append(struct strbuf *b, const void *p, size_t n) {
        char *to = strbuf_reserve(b, n);
        if (!to)
                return;
        if (n)
                memcpy(to, p, n);
        b->len += n;
}

void strbuf_puts(struct strbuf *b, const char *s) {
        strbuf_append(b, s, strlen(s));
}

void strbuf_putc(struct strbuf *b, char c) {
        strbuf_append(b, &c, 1);
}

void strbuf_printf(struct strbuf *b, const char *fmt, ...) {
        va_list ap, again;
        char *to;
        int n;

        va_start(ap, fmt);
        va_copy(again, ap);
        n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        if (n >= 0 && (to = strbuf_reserve(b, (size_t) n))) {
                (void) vsnprintf(to, (size_t) n + 1, fmt, again);
                b->len += (size_t) n;
        }
        va_end(again);
}

void strbuf_consume(struct strbuf *b, size_t n) {
        if (!n)
                return;
        b->len -= n;
        memmove(b->data, b->data + n, b->len + 1);
}

char *strbuf_take(struct strbuf *b) {
        char *p = b->data ? b->data : xstrdup("");
        *b = (struct strbuf){ .max = b->max };
        return p;
}

void strbuf_done(struct strbuf *b) {
        free(b->data);
        *b = (struct strbuf){ .max = b->max };
}
