/* SPDX-License-Identifier: Apache-2.0 */
/* table - rows of text in aligned columns. Cells come from images and pods: what could steer a terminal is shown as
 * '?'. */
#pragma once
#include <stddef.h>
#include <stdio.h>
#include "base/arena.h"

enum { TABLE_COLUMNS_MAX = 12 };

struct table {
        struct arena *arena;
        size_t columns;
        const char **cells;
        size_t n, cap;
};

/* Column titles, NULL last. */
void table_init(struct table *t, struct arena *arena, ...) __attribute__((sentinel));
/* As many cells as there are columns, NULL last. The strings are copied. */
void table_add(struct table *t, ...) __attribute__((sentinel));
/* The same of lists that end with NULL. */
void table_init_list(struct table *t, struct arena *arena, const char *const *titles);
void table_add_list(struct table *t, const char *const *cells);
void table_print(const struct table *t, FILE *out);
void table_done(struct table *t);
