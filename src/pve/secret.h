/* SPDX-License-Identifier: Apache-2.0 */
/* secret - a token, password or ticket in memory of its own: not in core dumps, not swapped where the system lets us,
 * wiped when its last user is gone. Thread-safe. */
#pragma once
#include "base/cleanup.h"
#include "base/err.h"

enum { SECRET_MAX = 4000 };

struct secret;

/* The text of file @path, without blanks at its end. ERR_PRECONDITION when others than its owner may read it, or when
 * that is neither root nor us; ERR_INVALID when it is empty, too long, or has control bytes. */
_must_use_ int secret_read(const char *path, struct secret **ret, struct err *err);
/* @text behind @prefix, which is not secret. ERR_INVALID as above: what becomes a header has no control bytes. */
_must_use_ int secret_new(const char *prefix, const char *text, struct secret **ret, struct err *err);
struct secret *secret_ref(struct secret *s);
struct secret *secret_unref(struct secret *s); /* NULL ok */
DEFINE_CLEANUP(struct secret *, secret_unref)

const char *secret_text(const struct secret *s); /* with the prefix; NULL gives NULL */
/* Puts stars over @s wherever it stands in @text, without its prefix: servers may quote what they were sent. */
void secret_hide(const struct secret *s, char *text);
