/* SPDX-License-Identifier: Apache-2.0 */
/* read-progress - how far something is read of which nobody knows how much there is: a container's changes, a folder,
 * an archive out of a pipe. Private to image/. */
#pragma once
#include "image/image.h"

struct read_progress {
        const char *what; /* in the place of a layer's digest */
        void (*progress)(const struct image_progress *p, size_t layer, size_t n_layers,
                         void *userdata); /* may be NULL */
        void *userdata;
        uint64_t bytes, told_ns;
};

/* So many more. Tells at most ten times a second. */
void read_progress_add(struct read_progress *p, uint64_t bytes);
/* In any case: that is all. */
void read_progress_tell(struct read_progress *p);
