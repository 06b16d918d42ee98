/* SPDX-License-Identifier: Apache-2.0 */
/* save - see images_save(). Private to image/. */
#pragma once
#include "image/pull.h"

/* Of @env content, records and registries count. */
_must_use_ int save_run(const struct pull_env *env, const struct image_save_args *args, struct err *err);
