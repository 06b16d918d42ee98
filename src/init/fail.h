/* SPDX-License-Identifier: Apache-2.0 */
/* fail - init's errors: struct plan_error filled from pieces of text, without stdio (the static program stays small).
 * Functions that can fail take it last and return 0, or -1 once it is filled. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "init/plan.h"

/* Pieces of text, NULL last; ": strerror" is added when @sys_errno isn't 0. Too long: cut. Returns -1. */
int fail_set(struct plan_error *e, int sys_errno, ...) __attribute__((sentinel));

/* @n in decimal, in @buf. */
const char *text_number(char buf[24], int64_t n);

/* @a and @b one after the other in @out; false when they don't fit (then out is ""). */
bool text_join(char *out, size_t size, const char *a, const char *b);
