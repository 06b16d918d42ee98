/* SPDX-License-Identifier: Apache-2.0 */
/* descriptors - which of them a program gets besides its streams, and that it gets no others. */
#pragma once
#include <stddef.h>
#include "init/reader.h"

enum { DESCRIPTORS_FIRST = 3 };

/* PLAN_PRESERVE: puts those of the plan's descriptors @fds in their places, from DESCRIPTORS_FIRST on, and those that
 * @own points to (-1: none) out of the way. @ret_n, how many, is set only when there are any. */
int descriptors_place(const struct reader *plan, const int *fds, int *const own[], size_t n_own, int *ret_n,
                      struct plan_error *e);
/* Closes all from @first on but @a and @b, of which either may be below that. */
void descriptors_close_others(int first, int a, int b);
