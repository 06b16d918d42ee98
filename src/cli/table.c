/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"

static const char *clean(struct arena *a, const char *s) {
        char *copy = arena_strdup(a, s ? s : "");

        str_make_printable(copy, "");
        return copy;
}

/* Characters, not bytes: UTF-8's continuation bytes take no room. */
static size_t width(const char *s) {
        size_t n = 0;

        for (; *s; s++)
                n += ((unsigned char) *s & 0xc0) != 0x80;
        return n;
}

static void add_cell(struct table *t, const char *s) {
        xgrow(t->cells, t->n, t->cap);
        t->cells[t->n++] = clean(t->arena, s);
}

void table_init(struct table *t, struct arena *arena, ...) {
        const char *s;
        va_list ap;

        memset(t, 0, sizeof(*t));
        t->arena = arena;
        va_start(ap, arena);
        while ((s = va_arg(ap, const char *))) {
                add_cell(t, s);
                t->columns++;
        }
        va_end(ap);
        assert(t->columns > 0 && t->columns <= TABLE_COLUMNS_MAX);
}

void table_add(struct table *t, ...) {
        size_t n = 0;
        const char *s;
        va_list ap;

        va_start(ap, t);
        while ((s = va_arg(ap, const char *))) {
                add_cell(t, s);
                n++;
        }
        va_end(ap);
        assert(n == t->columns);
}

void table_init_list(struct table *t, struct arena *arena, const char *const *titles) {
        *t = (struct table){ .arena = arena };
        for (; titles[t->columns]; t->columns++)
                add_cell(t, titles[t->columns]);
        assert(t->columns > 0 && t->columns <= TABLE_COLUMNS_MAX);
}

void table_add_list(struct table *t, const char *const *cells) {
        for (size_t i = 0; i < t->columns; i++)
                add_cell(t, cells[i]);
}

void table_print(const struct table *t, FILE *out) {
        size_t widths[TABLE_COLUMNS_MAX] = { 0 }, blanks = 0;

        for (size_t i = 0; i < t->n; i++) {
                size_t w = width(t->cells[i]);

                if (w > widths[i % t->columns])
                        widths[i % t->columns] = w;
        }
        for (size_t i = 0; i < t->n; i++) {
                size_t column = i % t->columns;

                if (*t->cells[i]) {
                        for (; blanks > 0; blanks--)
                                (void) putc_unlocked(' ', out);
                        (void) fputs(t->cells[i], out);
                }
                /* No blanks at the end of a line whose last cells are empty. */
                blanks += widths[column] - width(t->cells[i]) + 2;
                if (column + 1 == t->columns) {
                        (void) fputc('\n', out);
                        blanks = 0;
                }
        }
}

void table_done(struct table *t) {
        free(t->cells);
        t->cells = NULL;
}
