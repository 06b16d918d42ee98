/* SPDX-License-Identifier: Apache-2.0 */
/* sock - messages with descriptors over unix SOCK_SEQPACKET sockets, and listening sockets. No hidden state. */
#pragma once
#include <stddef.h>
#include <sys/types.h>
#include "base/err.h"

enum { SOCK_MAX_FDS = 250 };

/* One message. Returns 0 or -errno (EAGAIN on a non-blocking socket). */
_must_use_ int sock_send(int fd, const void *data, size_t len, const int *fds, size_t n_fds);

struct sock_msg {
        ssize_t len; /* 0: the peer is gone */
        int fds[SOCK_MAX_FDS];
        size_t n_fds;
        pid_t pid; /* of the sender when SO_PASSCRED is set, else 0 */
};

/* One message into @buf. Descriptors are O_CLOEXEC and owned by the caller (sock_msg_done closes those left, set the
 * ones you keep to -1). Returns 0 or -errno; -EMSGSIZE when data or descriptors were cut off. */
_must_use_ int sock_recv(int fd, void *buf, size_t size, struct sock_msg *ret);
/* The same, but the message stays queued; its descriptors are further copies. */
_must_use_ int sock_peek(int fd, void *buf, size_t size, struct sock_msg *ret);
void sock_msg_done(struct sock_msg *m);

/* A listening unix socket at @path: a stale file (nobody listens) is replaced, a live one is ERR_EXISTS. */
_must_use_ int sock_listen_unix(const char *path, int type, mode_t mode, int *ret_fd, struct err *err);
/* @type may carry SOCK_NONBLOCK. ERR_UNAVAILABLE when nobody listens. */
_must_use_ int sock_connect_unix(const char *path, int type, int *ret_fd, struct err *err);
