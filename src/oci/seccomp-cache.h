/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-cache - compiled filters in files below the runtime's root, of which each has in it all that the filter was
 * made from: text, kernel, version of the runtime, and the libseccomp that compiled it, by its file. So one that fits
 * is right, and anything else is as if it were not there. Only files of our own user that nobody else may write are
 * believed. Private to oci/. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "security/seccomp.h"

/* No container's name: ids have no "@". */
#define SECCOMP_CACHE_FOLDER "@seccomp"
enum { SECCOMP_CACHE_MAX_FILES = 64 };

struct seccomp_cached {
        const struct sock_filter *insns;
        size_t n;
        uint32_t flags;
        bool notify;
};

/* False: not there. @ret is in the arena. */
bool seccomp_cache_find(const char *root, const char *text, struct arena *arena, struct seccomp_cached *ret);
/* Nothing comes of it when that can't be: it is a cache. Past the most files the oldest goes. @library: the path of the
 * libseccomp that made it. */
void seccomp_cache_put(const char *root, const char *text, const char *library, const struct seccomp_cached *filter);
