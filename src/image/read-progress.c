/* SPDX-License-Identifier: Apache-2.0 */
#include "image/read-progress.h"

#include "base/str.h"

enum { TELL_MS = 100 };

void read_progress_tell(struct read_progress *p) {
        const struct image_progress now = {
                .digest = p->what, .total_bytes = p->bytes, .done_bytes = p->bytes, .state = LAYER_COPYING
        };

        p->told_ns = clock_monotonic_ns();
        if (p->progress)
                p->progress(&now, 0, 1, p->userdata);
}

void read_progress_add(struct read_progress *p, uint64_t bytes) {
        p->bytes += bytes;
        if (clock_monotonic_ns() - p->told_ns >= TELL_MS * UINT64_C(1000000))
                read_progress_tell(p);
}
