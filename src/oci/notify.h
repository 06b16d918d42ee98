/* SPDX-License-Identifier: Apache-2.0 */
/* notify - sd_notify(3) for containers: where our caller's $NOTIFY_SOCKET names a socket, the container has one of its
 * own in /run/notify, and what it says of being ready goes on to the caller's, with the process to watch. As runc:
 * nothing but READY= goes on, since all else (MAINPID, FDSTORE ...) speaks of things outside. Private to oci/. */
#pragma once
#include <pthread.h>
#include "oci/config.h"
#include "oci/state.h"

/* At create: the folder of the socket as a mount, the variable. Nothing where ours isn't set. */
_must_use_ int notify_add(const struct oci_dir *d, struct arena *arena, struct spec *spec, struct err *err);

struct notify {
        int fd; /* the container's socket; -1: none */
        pid_t main_pid;
        int pidfd; /* of the container; borrowed until the end of the process when in a thread */
        pthread_t thread;
        bool has_thread;
};
#define NOTIFY_EMPTY ((struct notify){ .fd = -1 })

/* The first line in @text, which is cut up, that says READY=, without its end; NULL: none. What the container says. */
char *notify_find_ready(char *text);

/* Before the program runs. @ret: empty where $NOTIFY_SOCKET isn't set, or was not at create. */
_must_use_ int notify_listen(const struct oci_dir *d, struct notify *ret, struct err *err);
void notify_done(struct notify *n);
/* Until it has said READY= or has ended. Errors of the caller's socket are left. */
void notify_relay(const struct notify *n);
/* The same beside what we do; @n must stay. It ends with our process at the latest. */
void notify_relay_in_thread(struct notify *n);
/* Once the container has ended: until its last words have gone on. */
void notify_wait_for_thread(struct notify *n);
