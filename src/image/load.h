/* SPDX-License-Identifier: Apache-2.0 */
/* load - images out of OCI image layouts (archives, folders) and of what `docker save` and Podman write. Blocks.
 * Private to image/. */
#pragma once
#include "image/pull.h"

enum { LOAD_IMAGES_MAX = 256, LOAD_ARENA_MAX = 64 * 1024 * 1024 };
/* As images_load(). @arena must allow LOAD_ARENA_MAX. */
_must_use_ int load_run(const struct pull_env *env, const struct image_load_args *args, struct arena *arena,
                        struct image_loaded **ret, size_t *ret_n, struct err *err);
