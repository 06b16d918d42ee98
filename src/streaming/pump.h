/* SPDX-License-Identifier: Apache-2.0 */
/* pump - between a descriptor and a channel: sources are read for the client, sinks take what it sends. Each owns its
 * descriptor (of a socket or a terminal, one each). Loop thread only. Private to streaming/. */
#pragma once
#include "streaming/client.h"

struct source {
        struct client *client;
        int fd; /* -1: not open, or at its end */
        sd_event_source *io;
        uint32_t channel;
        bool is_muted;    /* read and thrown away */
        bool is_draining; /* what is there now is all that matters */
        size_t drain_left;
        bool is_enabled;
        void (*ended)(void *userdata); /* from within any call of here; the source is closed then */
        void *userdata;
        uint64_t used_ns;
        struct source *prev, *next;
};

/* Takes @fd, also on failure. "ended" and "userdata" are set by the caller before. */
_must_use_ int source_open(struct source *s, struct client *c, int fd, uint32_t channel, struct err *err);
void source_close(struct source *s); /* without "ended" */
/* Whoever writes has ended: take what is there, then call it the end. */
void source_drain(struct source *s);
/* The connection may have room again, or none any more. */
void source_update(struct source *s);

static inline bool source_is_open(const struct source *s) {
        return s->fd >= 0;
}

struct sink {
        struct client *client;
        int fd; /* -1: not open yet, or closed */
        sd_event_source *io;
        bool is_enabled;
        bool is_closed; /* takes nothing: bytes for it are dropped */
        bool is_ending; /* closes when it is empty */
        bool is_socket; /* its end is told by shutdown(2) */
        bool can_hang_up;
        void (*ended)(void *userdata); /* closed, because the other side did or because all is written */
        void *userdata;
        struct queue waiting;
};

/* May be written to from now on; what is written waits for sink_open(). */
void sink_init(struct sink *s, struct client *c, void (*ended)(void *userdata), void *userdata);
/* Takes @fd, also on failure. */
_must_use_ int sink_open(struct sink *s, int fd, struct err *err);
void sink_write(struct sink *s, const uint8_t *data, size_t len);
void sink_end(struct sink *s);
void sink_close(struct sink *s); /* without "ended" */
