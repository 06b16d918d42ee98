/* SPDX-License-Identifier: Apache-2.0 */
/* container - the keeper's table of containers: spawns their monitors, hands init its plan, learns of their end, writes
 * the exit record when the monitor could not, takes over those of a keeper that died. */
#pragma once
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"
#include "keeper/log.h"
#include "keeper/loop.h"
#include "init/process.h"
#include "keeper/protocol.h"
#include "runtime/lxc/files.h"

struct keeper;
struct connection;

struct container {
        struct source init_source;    /* first: callbacks cast it back. READY or ERROR on init's socket */
        struct source exec_source;    /* exec status pipe */
        struct source monitor_source; /* pidfd of a monitor that is not our child (taken over) */
        struct keeper *keeper;
        char id[KEEPER_ID_MAX];
        int dirfd;
        uint32_t flags;
        pid_t monitor_pid, init_pid;
        uint64_t monitor_start, init_start;
        int monitor_fd, init_fd;           /* pidfds */
        int monitor_fds[CONTAINER_FD_MAX]; /* what the monitor holds for a later keeper: numbers there */
        int init_socket, exec_fd, stdin_fd;
        struct log_file log;
        struct log_stream out, err;
        /* Who waits for the answer to SPAWN or START; NULL: nobody (any more). */
        struct connection *waiter;
        uint32_t waiter_seq;
        bool hooks_due; /* init waits for GO */
        bool ready, starting, started, ending, ended;
        int monitor_status;      /* as waitpid's; -1: not our child, or not over */
        struct plan_error error; /* of a set-up that failed */
};

/* On success the reply comes later, through the connection. Takes no descriptor of @fds. In spawn.c. */
int container_spawn(struct keeper *k, struct connection *from, const struct keeper_request *req, const int *fds,
                    size_t n_fds, struct err *err);
/* The reply comes later, as that of a spawn. */
int container_continue(struct keeper *k, struct connection *from, const struct keeper_request *req, struct err *err);
int container_start(struct keeper *k, struct connection *from, const struct keeper_request *req, struct err *err);
/* @fd is taken; -1: discard. */
int container_set_log(struct keeper *k, const char *id, int fd, struct err *err);
/* Takes the descriptors that it uses (sets them to -1). */
int container_attach(struct keeper *k, struct connection *from, const struct keeper_request *req, int *fds,
                     size_t n_fds, struct err *err);
void container_reaped(struct keeper *k, pid_t pid, int status); /* a child of ours that may be a monitor */
void container_forget_waiter(struct keeper *k, const struct connection *c);
void container_take_over_all(struct keeper *k);

/* --- for spawn.c --- */

struct container *container_new(struct keeper *k, const char *id);
void container_free(struct container *c);
int container_write_state(const struct container *c, struct err *err);
/* Takes @fd. Negative errno. */
int container_open_stream(struct container *c, struct log_stream *s, int fd, bool terminal);
int container_watch_init(struct container *c);
