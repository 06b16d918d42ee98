/* SPDX-License-Identifier: Apache-2.0 */
/* copy - an image, or an index with all its builds, from one repository to another: first all blobs, then manifests
 * from the leaves up, the name last, so that nobody finds a half. Nothing is sent before the signature policy is
 * content with all of it. Private to image/. */
#pragma once
#include "image/image.h"
#include "image/ref.h"
#include "image/registry.h"
#include "image/trust.h"

struct copy_args {
        struct source *from, *to;
        const struct ref *from_ref, *to_ref;
        const struct trust *trust;     /* what the signature policy has for @from_ref */
        struct registries *registries; /* these two: where signatures are looked for */
        const struct source_args *from_source;
        bool all;   /* the whole index, not the build for this machine */
        bool mount; /* both are of one registry */
        unsigned max_parallel;
        const struct image_copy_args *caller; /* cancel_fd and progress */
};

/* @ret_digest: of what @to_ref is now the name of. */
_must_use_ int copy_run(const struct copy_args *args, struct arena *arena, const char **ret_digest, struct err *err);
