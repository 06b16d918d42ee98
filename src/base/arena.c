/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"

enum { CHUNK_BYTES = 4096 - 64, ALIGN = 16 };

struct chunk {
        struct chunk *next;
        size_t used, size;
        _Alignas(ALIGN) unsigned char data[];
};

struct arena {
        struct chunk *head;
        size_t used, max;
};

struct arena *arena_new(size_t max_bytes) {
        struct arena *a = xnew(struct arena);
        a->max = max_bytes;
        return a;
}

struct arena *arena_free(struct arena *a) {
        if (!a)
                return NULL;
        while (a->head) {
                struct chunk *c = a->head;
                a->head = c->next;
                free(c);
        }
        free(a);
        return NULL;
}

void *arena_alloc(struct arena *a, size_t bytes) {
        struct chunk *c;
        size_t size;
        void *p;

        assert(a);
        if (bytes > a->max || a->used > a->max - bytes)
                return NULL;
        bytes = (bytes + ALIGN - 1) & ~(size_t) (ALIGN - 1);
        c = a->head;
        if (!c || c->size - c->used < bytes) {
                size = MAX_OF(bytes, (size_t) CHUNK_BYTES);
                c = malloc(sizeof(*c) + size);
                if (!c)
                        return NULL;
                c->used = 0;
                c->size = size;
                /* A big block gets a chunk of its own behind the current one, which keeps its free room. */
                if (a->head && bytes > CHUNK_BYTES / 2) {
                        c->next = a->head->next;
                        a->head->next = c;
                } else {
                        c->next = a->head;
                        a->head = c;
                }
        }
        p = c->data + c->used;
        c->used += bytes;
        a->used += bytes;
        memset(p, 0, bytes);
        return p;
}

void *arena_xalloc(struct arena *a, size_t n, size_t size) {
        size_t bytes;
        void *p;

        if (__builtin_mul_overflow(n, size, &bytes))
                abort();
        p = arena_alloc(a, bytes);
        if (!p)
                abort();
        return p;
}

void *arena_memdup(struct arena *a, const void *p, size_t n) {
        void *q = arena_xalloc(a, 1, n);
        if (n)
                memcpy(q, p, n);
        return q;
}

char *arena_strndup(struct arena *a, const char *s, size_t n) {
        size_t len = strnlen(s, n);
        char *p = arena_xalloc(a, 1, len + 1);
        memcpy(p, s, len);
        return p;
}

char *arena_strdup(struct arena *a, const char *s) {
        return s ? arena_memdup(a, s, strlen(s) + 1) : NULL;
}

char *arena_printf(struct arena *a, const char *fmt, ...) {
        va_list ap, again;
        char *p;
        int n;

        va_start(ap, fmt);
        va_copy(again, ap);
        n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        if (n < 0)
                abort();
        p = arena_xalloc(a, 1, (size_t) n + 1);
        (void) vsnprintf(p, (size_t) n + 1, fmt, again);
        va_end(again);
        return p;
}

size_t arena_used(const struct arena *a) {
        return a->used;
}
