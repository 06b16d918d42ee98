/* SPDX-License-Identifier: Apache-2.0 */
/* streaming - the server behind CRI's Exec, Attach and PortForward: those RPCs hand out a URL, the client comes here
 * with it and speaks SPDY/3.1 or WebSocket. It moves bytes; what runs and connects is the backend's matter.
 *
 * Sockets and descriptors live on the loop thread; the backend's functions run on the pool and may block. The URL
 * makers may be called from any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/pool.h"

struct streaming_exec {
        const char *container_id;
        const char *const *argv; /* NULL ends it */
        bool tty, want_stdin, want_stdout, want_stderr;
};

struct streaming_attach {
        const char *container_id;
        bool tty, want_stdin, want_stdout, want_stderr;
};

struct streaming_port_forward {
        const char *sandbox_id;
        const int32_t *ports; /* only WebSocket clients of the old kind need them; may be empty */
        size_t n_ports;
};

/* What the backend hands out; -1: there is none. The server owns them from then on and sets O_NONBLOCK on them: they
 * must not share an open file description with somebody who minds. */
struct streaming_attached {
        int stdin_fd;    /* to write to; closed when the client's stdin ends */
        int stdout_fd;   /* to read, until its end */
        int stderr_fd;   /* likewise */
        int terminal_fd; /* of a container with a terminal: only for TIOCSWINSZ */
};

struct streaming_backend {
        void *userdata;

        /* Run @req->argv in the container; returns when it has ended. Descriptors are given to the process as they are
         * and stay the caller's; -1: that stream is not wanted. With a tty the three are -1: send one byte with the
         * terminal's master by SCM_RIGHTS over @terminal_sock (SOCK_SEQPACKET) as soon as there is one. When @cancel_fd
         * becomes readable the client is gone: kill the process. @ret_code: exit code, 128 + signal for a death by one.
         */
        int (*exec)(void *userdata, const struct streaming_exec *req, int stdin_fd, int stdout_fd, int stderr_fd,
                    int terminal_sock, int cancel_fd, int *ret_code, struct err *err);

        /* Short. Refuses with ERR_PRECONDITION when the container has a terminal and @req->tty does not, or the other
         * way round. @ret comes with -1 in each; fill it only on success. */
        int (*attach)(void *userdata, const struct streaming_attach *req, struct streaming_attached *ret,
                      struct err *err);

        /* A connected, non-blocking TCP socket to localhost:@port in the sandbox's network namespace (IPv4 first, then
         * IPv6). When @cancel_fd becomes readable nobody waits for it any more. */
        int (*port_forward)(void *userdata, const char *sandbox_id, uint16_t port, int cancel_fd, int *ret_fd,
                            struct err *err);
};

struct streaming;

struct streaming_args {
        sd_event *loop;
        /* Each exec holds a thread for as long as it runs: a pool of its own, with as many threads as there may be
         * connections. */
        struct pool *pool;
        struct streaming_backend backend; /* copied; must live until the pool is freed */
        const char *address;              /* IP address to listen on (NULL: 127.0.0.1) */
        uint16_t port;                    /* 0: any */
        const char *tls_cert, *tls_key;   /* PEM files, read again when they change; NULL: plain HTTP */
        /* 0 means the default in parentheses. */
        size_t max_connections;       /* (256) */
        uint64_t idle_timeout_ms;     /* (4 hours) without a frame in either direction */
        uint64_t creation_timeout_ms; /* (30 s) for the streams that a session needs */
        uint64_t token_ttl_ms;        /* (60 s) */
        size_t max_tokens;            /* (1000) handed out and not used */
};

_must_use_ int streaming_new(const struct streaming_args *args, struct streaming **ret, struct err *err);
/* Closes all connections and cancels what runs for them; jobs still on the pool keep what they need. Free the pool
 * after it. No URL maker may run any more. */
struct streaming *streaming_free(struct streaming *s);
DEFINE_CLEANUP(struct streaming *, streaming_free)

/* "http://127.0.0.1:36541", with TLS "https://..."; lives as long as the server. */
const char *streaming_base_url(const struct streaming *s);

/* Check the request, keep a copy, and make the single-use URL for it, in @arena. ERR_INVALID for what CRI forbids,
 * ERR_EXHAUSTED when too many are outstanding. Whether the container or sandbox is there is the caller's to check. */
_must_use_ int streaming_exec_url(struct streaming *s, const struct streaming_exec *req, struct arena *arena,
                                  const char **ret, struct err *err);
_must_use_ int streaming_attach_url(struct streaming *s, const struct streaming_attach *req, struct arena *arena,
                                    const char **ret, struct err *err);
_must_use_ int streaming_port_forward_url(struct streaming *s, const struct streaming_port_forward *req,
                                          struct arena *arena, const char **ret, struct err *err);
