/* SPDX-License-Identifier: Apache-2.0 */
/* bundle - the folder with a config.json that hooks find by their state's "bundle", for containers that did not come
 * with one: written from a spec, read again for the hooks that run later. */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "runtime/spec/spec.h"

/* Makes <parent>/<id>/config.json. @root: what its root.path says. */
_must_use_ int bundle_write(const char *parent, const struct spec *spec, const char *root, struct err *err);
/* What hooks need of it: hooks and annotations of @ret are set, to nothing when there is no such bundle. */
_must_use_ int bundle_read(const char *parent, const char *id, struct arena *arena, struct spec *ret, struct err *err);
_must_use_ int bundle_remove(const char *parent, const char *id, struct err *err);
