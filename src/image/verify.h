/* SPDX-License-Identifier: Apache-2.0 */
/* verify - one image's blobs are hashed, and its layers unpacked anew and compared with those on disk. Private to
 * image/. */
#pragma once
#include "image/pull.h"

/* As images_verify. */
_must_use_ int verify_run(const struct pull_env *env, const struct image_verify_args *args, struct err *err);
