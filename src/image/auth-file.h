/* SPDX-License-Identifier: Apache-2.0 */
/* auth-file - credentials of registries in files, as Podman, Skopeo and Docker keep them, and by Docker's credential
 * helpers. For worker threads: a helper is a program that is waited for. Nothing here is ever logged.
 * Sources: containers-auth.json(5), Docker's config.json and docker-credential-helpers' protocol. */
#pragma once
#include <stdbool.h>
#include "base/arena.h"
#include "base/err.h"
#include "image/image.h"

enum { AUTH_FILE_MAX = 1 << 20 };

/* Where this user's credentials are, in the order in which they are looked for; NULL-terminated, in the arena. @file is
 * the user's choice and then the only one; NULL: $REGISTRY_AUTH_FILE, else auth.json in $XDG_RUNTIME_DIR/containers
 * (/run/containers/UID without it), then in ~/.config/containers, then $DOCKER_CONFIG's or ~/.docker's config.json.
 * The first is the one to write to. */
const char **auth_files_of_user(const char *file, struct arena *arena);

/* What @files have for @name, "host[:port]/path" without tag or digest: the entry of the longest prefix that has one,
 * in the first file that has any: username and password, or a token. Strings live in the arena. Returns 1, or 0 when
 * there is none. Missing files are fine. ERR_INVALID for what is no such file; ERR_UNAVAILABLE when a helper fails or
 * does not end in half a minute. */
_must_use_ int auth_files_find(const char *const *files, const char *name, struct arena *arena, struct image_auth *ret,
                               struct err *err);

/* ERR_INVALID for what can't be a key of a file: it has to be "host[:port]" or "host[:port]/path". */
_must_use_ int auth_key_check(const char *key, struct err *err);
/* Put user and password for @key ("host[:port]" with or without "/path"; checked) into @file, which is made with mode
 * 0600 when there is none, or into the helper that the file names for it. All else that the file says stays. */
_must_use_ int auth_file_store(const char *file, const char *key, const char *username, const char *password,
                               struct err *err);
/* The opposite, of @key or (NULL) of all. Returns 1, or 0 when there was none. */
_must_use_ int auth_file_erase(const char *file, const char *key, struct err *err);
