/* SPDX-License-Identifier: Apache-2.0 */
/* hosts - the hosts of one cluster, any of which takes any request, and which of them to ask first. In the order given;
 * one that failed goes behind those that work, for a second at first and for longer each time, up to a minute. Then one
 * request tries it again. Thread-safe. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/err.h"

enum { HOSTS_MAX = 32, HOSTS_PORT = 8006 };

struct hosts;

/* "name", "name:port", "1.2.3.4", "[v6]", "[v6]:port"; NULL-terminated. ERR_INVALID. */
_must_use_ int hosts_new(const char *const *names, struct hosts **ret, struct err *err);
struct hosts *hosts_free(struct hosts *h);
DEFINE_CLEANUP(struct hosts *, hosts_free)

/* Fills @ret with the numbers of all hosts, in the order to ask them in. @now_ns: CLOCK_MONOTONIC. */
size_t hosts_order(struct hosts *h, uint64_t now_ns, size_t ret[static HOSTS_MAX]);
const char *hosts_name(const struct hosts *h, size_t i); /* "name:port" */
void hosts_worked(struct hosts *h, size_t i);
void hosts_failed(struct hosts *h, size_t i, uint64_t now_ns);
