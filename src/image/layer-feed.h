/* SPDX-License-Identifier: Apache-2.0 */
/* layer-feed - a bounded line of buffers to a thread of its own: decompressing (the caller) and unpacking (the thread)
 * of one layer run side by side. The thread has umask 0 of its own. One caller at a time. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/err.h"

struct layer_feed;

/* All are called by the thread. */
struct layer_feed_ops {
        int (*take)(void *userdata, const void *data, size_t len, struct err *err);
        /* What was taken has stayed as it was; now all but the last @held may change. Always called with 0 in the end.
         */
        void (*let_go)(void *userdata, size_t held);
        int (*end)(void *userdata, struct err *err); /* all were taken */
};

_must_use_ int layer_feed_new(const struct layer_feed_ops *ops, void *userdata, struct layer_feed **ret,
                              struct err *err);
/* Stops the thread, whatever it has left to do. NULL ok. */
struct layer_feed *layer_feed_free(struct layer_feed *f);
DEFINE_CLEANUP(struct layer_feed *, layer_feed_free)

/* Where the next bytes go: at least one byte of room. Waits while all buffers are full. Raises the thread's error. */
_must_use_ int layer_feed_reserve(struct layer_feed *f, uint8_t **ret, size_t *ret_room, struct err *err);
/* @n of them are there. */
void layer_feed_commit(struct layer_feed *f, size_t n);
/* Wait until the thread has taken everything, and ended. */
_must_use_ int layer_feed_end(struct layer_feed *f, struct err *err);
