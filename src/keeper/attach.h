/* SPDX-License-Identifier: Apache-2.0 */
/* attach - copies of a container's output for attach clients. A client gets what is taken out of the container's pipe
 * from then on, through a pipe of its own. One that reads slowly slows the container down, as a terminal does; one that
 * does not read at all is dropped after a while, so that it can't stop the container. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/strbuf.h"
#include "keeper/loop.h"

enum { ATTACH_MAX = 32 /* clients of one stream */, ATTACH_STALL_MS = 30000 };

struct log_stream;

struct attachment {
        struct source source; /* first: room in the client's pipe, or the client is gone */
        struct attachment *next;
        struct log_stream *stream; /* NULL: over, only the backlog is left to be taken */
        struct loop *loop;
        int fd; /* write end, owned */
        struct strbuf backlog;
        uint64_t stalled_since_ns; /* 0: not */
};

/* Add a client that reads from the other end of @fd (taken). 0 or -errno. */
int attach_add(struct log_stream *s, struct loop *l, int fd);
/* Is there a client that has not taken all of what it was given? Then nothing more is to be taken out for now. */
bool attach_is_behind(const struct log_stream *s);
void attach_feed(struct log_stream *s, const char *data, size_t n);
/* Drop clients that have not read for ATTACH_STALL_MS. */
void attach_drop_stalled(struct log_stream *s);
/* The stream is over: its clients still get what they have not read yet. */
void attach_close_all(struct log_stream *s);
