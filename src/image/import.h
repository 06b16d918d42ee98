/* SPDX-License-Identifier: Apache-2.0 */
/* import - an image of one layer out of a folder, or an archive of one. Ends by adopt.h. Blocks. Private to image/. */
#pragma once
#include "image/pull.h"

/* As images_import(); names in full. @arena: as adopt_run() wants it. */
_must_use_ int import_run(const struct pull_env *env, const struct image_import_args *args, struct arena *arena,
                          const char **ret_id, struct err *err);
