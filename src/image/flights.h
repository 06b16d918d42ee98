/* SPDX-License-Identifier: Apache-2.0 */
/* flights - pulls under way. The same reference with the same credentials is one flight however many callers ask for
 * it; each caller has its own progress, cancel and deadline, and the flight ends early only when all of them have left.
 * Thread-safe. Private to image/. */
#pragma once
#include "image/pull.h"

struct flights;

struct flights *flights_new(const struct pull_env *env); /* @env is copied */
struct flights *flights_free(struct flights *f);         /* waits for those under way */

/* As images_pull. Other credentials never profit from a flight: whoever has none must fail. */
_must_use_ int flights_pull(struct flights *f, const struct image_pull_args *args, struct arena *arena,
                            const char **ret_id, struct err *err);
