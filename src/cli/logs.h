/* SPDX-License-Identifier: Apache-2.0 */
/* logs - read a container's log file (CRI format: "TIME stream TAGS text") and print what it holds, following it as it
 * grows and is rotated. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/err.h"

struct log_reader;

struct log_options {
        bool timestamps;
        bool has_tail;
        uint64_t tail; /* only the last so many lines */
};

_must_use_ int log_reader_new(const char *path, const struct log_options *options, struct log_reader **ret,
                              struct err *err);
struct log_reader *log_reader_free(struct log_reader *r);
DEFINE_CLEANUP(struct log_reader *, log_reader_free)
/* Print every whole line that is there by now. ERR_UNAVAILABLE when nobody reads the output any more. */
_must_use_ int log_reader_pump(struct log_reader *r, struct err *err);
/* Wait for more, at most @timeout_ms; signals end it early. */
void log_reader_wait(struct log_reader *r, int timeout_ms);
