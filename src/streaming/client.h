/* SPDX-License-Identifier: Apache-2.0 */
/* client - one client's connection: its socket, the HTTP request it begins with, then a session over the wire. Loop
 * thread only. Private to streaming/.
 *
 * Back-pressure: while CLIENT_OUT_HIGH bytes wait for the client, no source is read; while CLIENT_IN_HIGH bytes of the
 * client wait for their sinks, the client is not read. Every event ends in client_settle(), which may free the
 * connection: nothing else does. */
#pragma once
#include "streaming/jobs.h"
#include "streaming/queue.h"
#include "streaming/streaming.h"
#include "streaming/ticket.h"
#include "streaming/tls.h"
#include "streaming/upgrade.h"
#include "streaming/wire.h"

enum {
        CLIENT_OUT_HIGH = 128 * 1024,
        CLIENT_OUT_LOW = 32 * 1024,
        CLIENT_OUT_MAX = 1024 * 1024, /* past what one piece of input can make us answer: a mistake of ours */
        CLIENT_IN_HIGH = 256 * 1024,
        CLIENT_IN_LOW = 64 * 1024,
        CLIENT_MAX_STREAMS = 512,
};

struct client;
struct source;

/* What a connection is about, after the upgrade. */
struct session {
        const struct session_ops *ops;
        struct client *client;
        uint64_t wake_ns; /* session_ops.tick is due */
};

struct session_ops {
        struct wire_handler wire; /* userdata: the session */
        void (*start)(struct session *s);
        void (*tick)(struct session *s, uint64_t now_ns);
        /* At the end of each event: put away what is over. */
        void (*settle)(struct session *s);
        void (*free)(struct session *s);
};

enum client_state {
        CLIENT_HEAD,    /* the request is coming in */
        CLIENT_OPEN,    /* upgraded, in session */
        CLIENT_CLOSING, /* nothing more to say once what waits is sent */
        CLIENT_LINGER,  /* said all; the client reads it and goes */
        CLIENT_FAILED,  /* to be freed */
};

struct client {
        struct streaming *server;
        struct client *prev, *next;
        enum client_state state;
        int fd;
        struct tls_conn *tls; /* NULL: plain */
        sd_event_source *io;
        uint32_t events;
        bool peer_hung_up; /* it sends no more; there may be something to read still */
        bool in_paused, out_paused;
        bool is_settling;
        struct strbuf head;
        struct queue out;
        size_t in_waiting; /* bytes in sinks */
        struct wire wire;
        struct session *session;
        struct source *sources;
        uint64_t used_ns;   /* the last byte in either direction */
        uint64_t due_ns;    /* of the head, or of lingering */
        uint64_t pinged_ns; /* the last wire_keepalive() */
};

/* Takes @fd on success. */
_must_use_ int client_new(struct streaming *server, int fd, struct client **ret, struct err *err);
struct client *client_free(struct client *c);

/* Refuse with an HTTP status. */
void client_refuse(struct client *c, int status, const char *message);
/* The session has ended well: say so, then close. The session is freed in client_settle(). */
void client_close(struct client *c);
/* The connection is of no more use. */
void client_fail(struct client *c);

/* A source may be read. */
static inline bool client_has_room(const struct client *c) {
        return c->state == CLIENT_OPEN && !c->out_paused;
}

/* Send, pause or resume, arm, and free it if it is over. Returns false then. */
bool client_settle(struct client *c);
void client_tick(struct client *c, uint64_t now_ns);
uint64_t client_wake_ns(const struct client *c);

/* Sessions. They take @t. */
struct session *command_new(struct client *c, struct ticket *t, enum wire_kind kind, unsigned version);
struct session *forward_new(struct client *c, struct ticket *t, bool by_port);
