/* SPDX-License-Identifier: Apache-2.0 */
/* reader - looks into a plan (plan.h): bytes in, records out, no I/O. reader_init() checks all of it, so that whoever
 * walks it later need not: sizes, every operation's strings, data and descriptors, what may come once, what must be
 * there, the order. The bytes are borrowed, must be aligned to 8 and must not change (init checks the memfd's seals).
 */
#pragma once
#include <stddef.h>
#include "init/plan.h"

struct reader {
        const struct plan_header *header;
        size_t n_fds;
};

/* @n_fds: how many descriptors came with it. 0, or -1 with @e. */
int reader_init(struct reader *r, const void *bytes, size_t size, size_t n_fds, struct plan_error *e);

/* The record after @rec (NULL: the first), NULL at the end. */
const struct plan_record *reader_next(const struct reader *r, const struct plan_record *rec);
/* The first record of @op after @rec (NULL: of all), NULL when there is none. */
const struct plan_record *reader_find(const struct reader *r, const struct plan_record *rec, enum plan_op op);

const char *reader_string(const struct plan_record *rec, uint32_t i); /* i < n_str */
const void *reader_data(const struct plan_record *rec);               /* data_len bytes, not aligned */
/* All the strings as a NULL-terminated list: @list has room for n_str + 1. */
void reader_strings(const struct plan_record *rec, const char **list);

/* Map a sealed memfd and check it. Never unmapped: for programs that exec or exit. */
int reader_map(struct reader *r, int memfd, size_t n_fds, struct plan_error *e);
