/* SPDX-License-Identifier: Apache-2.0 */
/* watch - descriptors that a call which blocks looks after meanwhile, in the thread of its caller. */
#pragma once
#include <stddef.h>

struct watch {
        int fds[2]; /* borrowed; -1: none */
        /* fds[which] has something to read, or is at its end: takes what is there, and sets it to -1 when no more is
         * wanted. */
        void (*ready)(struct watch *w, size_t which);
};
