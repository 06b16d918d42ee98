/* SPDX-License-Identifier: Apache-2.0 */
/* format - values for people, and back. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"

/* "just now", "3 minutes ago", "2 weeks ago"; "" for 0. */
const char *format_age(struct arena *a, int64_t then_ns, uint64_t now_ns);
const char *format_bytes(struct arena *a, uint64_t bytes);
const char *format_seconds(struct arena *a, uint64_t seconds); /* "45s", "2m05s", "3h02m" */
/* The part of an id that is shown: 12 digits, without "sha256:". */
const char *format_id(struct arena *a, const char *id);

/* "0.5", "2": thousandths of a CPU, from 1. */
_must_use_ bool parse_cpus(const char *s, uint64_t *ret_millis);
