/* SPDX-License-Identifier: Apache-2.0 */
/* protocol - daemon <-> keeper, over a SOCK_SEQPACKET unix socket: fixed-size messages, bulk in memfds. Same machine,
 * same build: the version in HELLO must be equal, else the daemon starts a second keeper for new containers. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "init/plan.h"

enum { KEEPER_VERSION = 5, KEEPER_ID_MAX = 65, KEEPER_TEXT_MAX = 768, KEEPER_CONFIG_MAX = 16384 };

enum keeper_msg_type {
        /* daemon -> keeper */
        KEEPER_HELLO = 1,
        KEEPER_SPAWN, /* descriptors: plan memfd, rootfs mount, the plan's own, with NESTED the PID namespace for the
                         monitor to be born in, with CGROUP the folder of the v2 group for monitor and init to be born
                         in, and the cgroup.procs to which the monitor goes back; config: liblxc lines. With CRUN:
                         the host's mount namespace, rootfs mount, the host's network namespace, then the sources of
                         binds (runtime/crun/monitor.h); config: the program */
        KEEPER_START,
        KEEPER_EXEC,      /* descriptors: plan memfd, init's pidfd, stdin, stdout, stderr, then the plan's own */
        KEEPER_EXEC_KILL, /* kill the exec of @seq with all its descendants that can be found */
        KEEPER_SET_LOG,   /* descriptor: log file (O_RDWR | O_APPEND), none: discard */
        KEEPER_ATTACH, /* descriptors: pipes to copy standard output and, if given, error to. The reply has a descriptor
                          for standard input if that was asked for and is there: the pipe, or the terminal's master */
        KEEPER_CONTINUE, /* the runtime's hooks have run: init goes on; the reply is the one to SPAWN */
        KEEPER_END,      /* end, if there is no container; no reply */
        /* keeper -> daemon */
        KEEPER_REPLY = 64,  /* to HELLO, SPAWN (ready or failed), START, EXEC (failed), SET_LOG; same seq */
        KEEPER_EXEC_EXITED, /* same seq as its EXEC; status as waitpid's */
        KEEPER_EXITED,      /* container @id: monitor and init are gone; the exit record is written */
};

/* A container whose input ends with the first client's keeps that pipe nowhere else: then the client's end is its end.
 */
enum {
        KEEPER_SPAWN_STDIN = 1,
        KEEPER_SPAWN_STDIN_ONCE = 2,
        KEEPER_SPAWN_TERMINAL = 4,
        KEEPER_SPAWN_USER_NS = 8,
        KEEPER_SPAWN_CGROUP = 16,
        KEEPER_SPAWN_NESTED = 32,
        KEEPER_SPAWN_CRUN = 64, /* crun makes the container, not liblxc */
};
enum { KEEPER_ATTACH_STDIN = 1 };
/* TERMINAL: stdin is a socket, on which the terminal's master is sent. USER_NS: the container has a user namespace of
 * its own, which is entered, too. */
enum { KEEPER_EXEC_TERMINAL = 1, KEEPER_EXEC_USER_NS = 2 };

struct keeper_request {
        uint32_t type, seq, flags, config_len;
        uint32_t root_uid, root_gid; /* with a user namespace: its root is this user of the host's */
        char id[KEEPER_ID_MAX];
        char config[KEEPER_CONFIG_MAX]; /* only config_len bytes are sent. "@N@" in it stands for "/proc/self/fd/M", M
                                           being where the plan's descriptor N is in the monitor */
};

struct keeper_reply {
        uint32_t type, seq;
        int32_t code; /* enum err_code; 0: fine */
        int32_t sys_errno;
        int32_t status; /* of EXEC_EXITED */
        int32_t pid;    /* of init, or of the exec'd process */
        uint64_t start_time;
        char id[KEEPER_ID_MAX];
        uint8_t has_ready;
        uint8_t hooks_due;          /* to SPAWN: init waits for CONTINUE; pid and start_time are its */
        char text[KEEPER_TEXT_MAX]; /* the error */
        struct plan_ready ready;    /* of SPAWN */
};
