/* SPDX-License-Identifier: Apache-2.0 */
/* status - how a command ended, as the error stream's JSON or text says it. No I/O. */
#pragma once
#include <stdbool.h>
#include "base/err.h"
#include "base/strbuf.h"

enum { STATUS_MAX = 8 * 1024 };

/* The object of protocol v4 and later. @err NULL: the command ended with @code. */
void status_json(struct strbuf *out, int code, const struct err *err);
/* The text of v1 to v3; nothing on success. */
void status_text(struct strbuf *out, int code, const struct err *err);
