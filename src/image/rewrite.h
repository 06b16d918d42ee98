/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite - what repositories are called on a registry's mirrors, by regular expressions, as k3s's registries.yaml has
 * them. For image/, and for the configuration to try them. Thread-safe once made. */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "image/image.h"

struct rewrites;

enum { REWRITES_MAX = 64 };

/* @list ends with a pattern that is NULL; NULL: none. @ret: NULL when there are none. ERR_INVALID. */
_must_use_ int rewrites_new(const struct registry_rewrite *list, struct rewrites **ret, struct err *err);
struct rewrites *rewrites_free(struct rewrites *r);
DEFINE_CLEANUP(struct rewrites *, rewrites_free)
/* "library/nginx" by the first pattern that matches, or as it is. */
const char *rewrites_apply(const struct rewrites *r, const char *path, struct arena *arena);
