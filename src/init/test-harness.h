/* SPDX-License-Identifier: Apache-2.0 */
/* test-harness - runs proxmox-lxcri-init as liblxc would: new namespaces, root pivoted into a folder with a static
 * busybox, procfs and sysfs mounted, the program started from a descriptor with the socket's number. For test-init.c
 * only. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include "base/arena.h"
#include "runtime/lxc/plan.h"

enum { OUTPUT_MAX = 65536, MAP_FIRST = 100000, MAP_LENGTH = 65536 };

struct box {
        struct arena *arena;
        char dir[64]; /* temporary; holds "root" and what a test puts beside it */
        char root[80];
        char start_path[80]; /* after box_start() with spec.outlives_parent */
        bool userns;         /* set before box_start(): a user namespace with ids from 100000 */
        bool monitored;      /* init's parent is a process of its own: monitor_pid */
        pid_t pid, monitor_pid;
        int sock, status_fd, out_fd, in_fd, master_fd;
        struct plan_ready ready; /* after box_start(): type is PLAN_MSG_READY or ... */
        struct plan_error error; /* ... why not */
        char output[OUTPUT_MAX]; /* stdout and stderr */
        struct {
                int32_t sys_errno;
                char text[PLAN_ERROR_MAX];
        } failure;
        int status; /* of wait */
};

/* A fresh root file system: /bin/busybox with its links, /etc/passwd, /etc/group, /tmp, mount points. */
void box_init(struct box *b);
void box_done(struct box *b);
/* A path below the box' folder; lives as long as the box. */
const char *box_path(const struct box *b, const char *relative);
/* The root belongs to the root of a user namespace (userns). */
void box_chown(const struct box *b);
void box_write(const struct box *b, const char *relative, const char *text);

/* Plan, start init, wait for its answer. True: READY. */
bool box_start(struct box *b, const struct spec *spec, const struct plan_host *host);
/* START, all output, the end. Returns the exit code, or 128 + signal. */
int box_run(struct box *b);
void box_send_start(struct box *b);
/* To start_path; -code when nobody listens. */
int box_connect(struct box *b);
int box_finish(struct box *b);

/* A command in the running container, by the code of the keeper's exec helper. Output in b->output. */
int box_exec(struct box *b, const struct spec_process *p);
