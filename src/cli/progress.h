/* SPDX-License-Identifier: Apache-2.0 */
/* progress - how far a pull or push is: a live line per layer on a terminal, plain lines elsewhere. Writes to standard
 * error.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "proto/admin.pb-c.h"

enum { PROGRESS_LAYERS_MAX = 256 };

struct progress {
        bool live, sends; /* sends: to a registry, not from one; for the caller to set */
        const char *reference;
        size_t shown; /* lines on the screen that the next drawing goes over */
        size_t rows, columns;
        uint64_t started_ns, said_ns;
        struct {
                uint64_t done_bytes, seen_ns;
                double bytes_per_s; /* smoothed */
                int state;          /* the last one told; -1: none */
        } layer[PROGRESS_LAYERS_MAX];
};

void progress_init(struct progress *p, const char *reference);
void progress_show(struct progress *p, const Proxmoxlxcri__V1__PullProgress *m, uint64_t now_ns);
