/* SPDX-License-Identifier: Apache-2.0 */
/* alloc - fixed-size objects; out of memory aborts (systemd restarts us, containers live in monitors).
 * Anything whose size comes from outside goes through an arena or a strbuf with a maximum instead. */
#pragma once
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/attr.h"

static inline void *xcalloc(size_t n, size_t size) {
        void *p = calloc(n, size);
        if (!p)
                abort();
        return p;
}

static inline void *xrealloc(void *old, size_t n, size_t size) {
        size_t bytes;
        void *p;

        if (__builtin_mul_overflow(n, size, &bytes))
                abort();
        p = realloc(old, bytes ? bytes : 1);
        if (!p)
                abort();
        return p;
}

static inline char *xstrdup(const char *s) {
        char *p = strdup(s);
        if (!p)
                abort();
        return p;
}

static inline char *xstrndup(const char *s, size_t n) {
        size_t len = strnlen(s, n); /* not strndup(): it may be taken to want a string that ends */
        char *p = xcalloc(len + 1, 1);

        memcpy(p, s, len);
        return p;
}

_printf_(1, 0) static inline char *xvprintf(const char *fmt, va_list ap) {
        char *p;

        if (vasprintf(&p, fmt, ap) < 0)
                abort();
        return p;
}

_printf_(1, 2) static inline char *xprintf(const char *fmt, ...) {
        va_list ap;
        char *p;

        va_start(ap, fmt);
        p = xvprintf(fmt, ap);
        va_end(ap);
        return p;
}

/* Lists of strings that end with NULL; NULL is an empty one. */
static inline size_t strv_len(const char *const *list) {
        size_t n = 0;

        while (list && list[n])
                n++;
        return n;
}

static inline char **xstrv_copy(const char *const *list) {
        size_t n = strv_len(list);
        char **copy = xcalloc(n + 1, sizeof(*copy));

        for (size_t i = 0; i < n; i++)
                copy[i] = xstrdup(list[i]);
        return copy;
}

/* A list whose strings are its own; NULL ok. */
static inline char **strv_free(char **list) {
        for (char **at = list; at && *at; at++)
                free(*at);
        free(list);
        return NULL;
}

#define xnew(type) ((type *) xcalloc(1, sizeof(type)))

/* Grow @array (with @len elements in use, @cap allocated) so that one more fits. */
#define xgrow(array, len, cap)                                                                                         \
        do {                                                                                                           \
                if ((len) >= (cap)) {                                                                                  \
                        (cap) = (cap) ? (cap) *2 : 8;                                                                  \
                        (array) = xrealloc((array), (cap), sizeof(*(array)));                                          \
                }                                                                                                      \
        } while (0)
