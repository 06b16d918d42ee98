/* SPDX-License-Identifier: Apache-2.0 */
/* keeper - the state of the keeper program, shared by its files. Single-threaded. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/map.h"
#include "keeper/container.h"
#include "keeper/loop.h"
#include "keeper/protocol.h"

struct exec;

struct keeper {
        struct loop loop;
        const char *state_dir;
        char lxc_path[256], rootfs_dir[256];
        int containers_fd; /* <state>/containers */
        int init_fd;       /* sealed memfd of the init program, opened read-only */
        struct map *containers;
        struct exec *execs;
        struct connection *connections;
        struct source listen_source, signal_source;
        bool told_to_end;
        uint64_t idle_since_ns; /* no container and no daemon since then; 0: not idle */
};

/* setup.c: private network and mount namespaces. Called once, before anything else. */
_must_use_ int keeper_isolate(struct keeper *k, int netns_fd, struct err *err);

/* server.c: connections of daemons. */
_must_use_ int server_start(struct keeper *k, int listen_fd, struct err *err);
void server_send(struct connection *c, const struct keeper_reply *reply);
/* With a descriptor (borrowed; -1: none). */
void server_send_fd(struct connection *c, const struct keeper_reply *reply, int fd);
void server_reply(struct connection *c, uint32_t seq, const char *id, const struct err *err); /* @err NULL: fine */
void server_broadcast(struct keeper *k, const struct keeper_reply *reply);

/* exec.c */
int exec_start(struct keeper *k, struct connection *from, const struct keeper_request *req, const int *fds,
               size_t n_fds, struct err *err);
void exec_kill(struct keeper *k, struct connection *from, uint32_t seq);
bool exec_reaped(struct keeper *k, pid_t pid, int status); /* true: it was one */
void exec_forget_waiter(struct keeper *k, const struct connection *c);
