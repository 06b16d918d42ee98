/* SPDX-License-Identifier: Apache-2.0 */
/* resize - the stream of terminal sizes: JSON objects {"Width":80,"Height":24}, cut anywhere. No I/O. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RESIZE_OBJECT_MAX = 512 };

struct resize_parser {
        char object[RESIZE_OBJECT_MAX];
        size_t len;
        unsigned depth;
        bool in_string, escaped;
        bool is_broken; /* the rest is ignored */
};

/* True when a size has come, the last one of several. Sizes with a 0 are no sizes. */
bool resize_feed(struct resize_parser *p, const uint8_t *data, size_t len, uint16_t *ret_width, uint16_t *ret_height);
