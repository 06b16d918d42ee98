/* SPDX-License-Identifier: Apache-2.0 */
/* auth-helper - the programs docker-credential-NAME, which keep credentials in a keyring or get them from a cloud.
 * Private to image/. Source: docker-credential-helpers' README. */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "image/image.h"

/* @name: what the file calls it; no path, so that it is one of $PATH. Each waits at most half a minute. */
/* Returns 1, or 0 when it has none for @server. ERR_UNAVAILABLE with what it said. */
_must_use_ int auth_helper_get(const char *name, const char *server, struct arena *arena, struct image_auth *ret,
                               struct err *err);
_must_use_ int auth_helper_store(const char *name, const char *server, const char *username, const char *secret,
                                 struct err *err);
/* Returns 1, or 0 when it had none. */
_must_use_ int auth_helper_erase(const char *name, const char *server, struct err *err);
