/* SPDX-License-Identifier: Apache-2.0 */
/* userns - user namespaces, made by a child that lives for a moment: a process with threads can't leave its own. The
 * kernel keeps one for as long as a descriptor, a bind mount or another namespace that it owns is there.
 * Thread-safe. */
#pragma once
#include <sys/types.h>
#include "base/err.h"
#include "base/id-map.h"

/* A child that waits in its new namespaces, to be looked at through /proc/PID. */
struct userns_child {
        pid_t pid; /* 0: none */
        int socket;
};

/* The child takes a user namespace with @maps, becomes root there, and does @work (may be NULL) with nothing but
 * async-signal-safe functions: what @work raises is raised here. No descriptor of ours above 2 is open in it.
 * ERR_INVALID: the kernel refuses the maps; ERR_EXHAUSTED: no more user namespaces; ERR_PRECONDITION: none at all. */
_must_use_ int userns_start(const struct id_maps *maps, int (*work)(void *arg, struct err *err), void *arg,
                            struct userns_child *ret, struct err *err);
/* Ends the child; on an empty one nothing happens. */
void userns_end(struct userns_child *child);

/* In a child that enters the namespaces @flags (CLONE_NEW*) of the process behind pidfd @process, as root of its user
 * namespace: @work as above, then it ends. */
_must_use_ int userns_enter(int process, int flags, int (*work)(void *arg, struct err *err), void *arg,
                            struct err *err);

/* Only a user namespace with @maps: what idmapped mounts are made with. */
_must_use_ int userns_new(const struct id_maps *maps, int *ret_fd, struct err *err);
