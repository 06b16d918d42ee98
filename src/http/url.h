/* SPDX-License-Identifier: Apache-2.0 */
/* url - the questions that a careful HTTP client asks about URLs. Pure functions on strings; thread-safe.
 * Only http and https exist here: anything else is refused. Parsing is curl's own, so that what is checked here is what
 * curl connects to. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

enum { URL_MAX = 16 * 1024 };

/* @url in normal form (user and password and fragment removed). ERR_INVALID. */
_must_use_ int url_normalize(const char *url, struct arena *arena, const char **ret, struct err *err);

/* Where a redirect from @base to @location leads: absolute, normal form. ERR_INVALID for what is no http(s) URL,
 * ERR_PRECONDITION for a step down from https to http. */
_must_use_ int url_redirect(const char *base, const char *location, struct arena *arena, const char **ret,
                            struct err *err);

bool url_is_https(const char *url);
/* Same scheme, host and port: only then may credentials go along. */
bool url_same_origin(const char *a, const char *b);
/* "host" or "host:port" of @url, for messages and comparisons; NULL when it is no URL. */
const char *url_host(const char *url, struct arena *arena);
/* @url without query, user and fragment, since these carry secrets (signed URLs): for logs and messages. */
const char *url_for_people(const char *url, struct arena *arena);
/* @s percent-encoded for a query or a form. */
const char *url_encode(const char *s, struct arena *arena);

/* "host", "host:port", "[v6]:port", perhaps with a path: is it this machine only (localhost, 127.0.0.0/8, ::1)? */
bool url_host_is_loopback(const char *host);
