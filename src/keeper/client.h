/* SPDX-License-Identifier: Apache-2.0 */
/* client - the daemon's side of keeper/protocol.h: starts or finds the keeper, sends requests and waits for their
 * replies, starts a new keeper when one dies. Thread-safe. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/cleanup.h"
#include "base/err.h"
#include "base/watch.h"
#include "keeper/protocol.h"

struct keeper_client;

struct keeper_client_args {
        const char *state_dir, *keeper_path, *init_path, *log_level, *log_format;
        /* From the client's own thread; must not block. */
        void (*exited)(const char *id, void *userdata);
        /* A new keeper has taken over the containers, and needs their logs (SET_LOG). From a thread that may block. */
        void (*restarted)(void *userdata);
        void *userdata;
};

_must_use_ int keeper_client_new(const struct keeper_client_args *args, struct keeper_client **ret, struct err *err);
/* Ends a keeper that has no container, with its network namespace; call before free. */
void keeper_client_end_keeper(struct keeper_client *c);
struct keeper_client *keeper_client_free(struct keeper_client *c); /* leaves the keeper running */
DEFINE_CLEANUP(struct keeper_client *, keeper_client_free)

pid_t keeper_client_pid(struct keeper_client *c); /* 0: none at the moment */

struct keeper_call {
        uint32_t type, flags;
        uint32_t root_uid, root_gid;
        const char *id, *config; /* config may be NULL */
        const int *fds;          /* borrowed */
        size_t n_fds;
        uint64_t
                timeout_ms; /* for the whole call, an exec's run included; 0: none for an exec, a minute for the rest */
        int cancel_fd;      /* -1: none; exec only */
        struct watch *watch; /* NULL: nothing */
        int *ret_fd;         /* a descriptor that came with the reply, -1: none; NULL: not wanted */
};

/* Send and wait for the reply. The keeper's error is raised in @err. For an exec waits for its end: status is
 * waitpid's. */
_must_use_ int keeper_client_call(struct keeper_client *c, const struct keeper_call *call, struct keeper_reply *ret,
                                  struct err *err);
