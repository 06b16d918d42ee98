/* SPDX-License-Identifier: Apache-2.0 */
/* push - a local image to a registry. Private to image/. */
#pragma once
#include "image/content.h"
#include "image/image.h"
#include "image/records.h"
#include "image/registry.h"

struct push_env {
        struct records *records;
        struct content *content;
        struct registries *registries;
        unsigned max_parallel;
};

/* As images_push. */
_must_use_ int push_run(const struct push_env *env, const struct image_push_args *args, struct arena *arena,
                        const char **ret_digest, struct err *err);
