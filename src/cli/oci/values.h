/* SPDX-License-Identifier: Apache-2.0 */
/* values - what stands in arguments of the OCI runtime's verbs. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/attr.h"

/* "TERM", "SIGTERM", "sigterm", "15", "RTMIN+3", "RTMAX-1"; 0: no signal. */
int signal_parse(const char *s);
/* "512", "64k", "10M", "2G", "1.5g", as Docker writes sizes, powers of 1024; "-1": no limit. */
_must_use_ bool size_parse(const char *s, int64_t *ret);
/* Whole numbers, decimal, that config.json has as such; the text is what JSON takes. */
_must_use_ bool number_parse(const char *s, int64_t min, int64_t max, int64_t *ret);
