/* SPDX-License-Identifier: Apache-2.0 */
/* error - what Proxmox VE says went wrong, as kinds that callers can decide by. The API has no statuses for most of it:
 * nearly everything is HTTP 500, or a task that ends with a text, so that kinds are told by the text. Both places where
 * an operation can fail, before its task is made and in the task, give the same errors. Thread-safe. */
#pragma once
#include <stdbool.h>
#include <stdio.h>
#include "base/err.h"

/* X(kind, code of the struct err, what to do about it or NULL) */
#define PVE_KINDS(X)                                                                                                   \
        X(OTHER, UNKNOWN, NULL)                                                                                        \
        X(UNREACHABLE, UNAVAILABLE, "look whether pveproxy runs there and port 8006 is open")                          \
        X(UNTRUSTED, UNAVAILABLE, "name its CA file or its fingerprint, which pvenode cert info shows")                \
        X(LOST, UNAVAILABLE, "whether it was done is unknown")                                                         \
        X(NODE_UNREACHABLE, UNAVAILABLE, "the cluster does not reach that node")                                       \
        X(FOREIGN, PRECONDITION, "this is not the API of Proxmox VE")                                                  \
        X(AUTH, UNAUTHENTICATED, "look at the token's or user's name, secret and expiry")                              \
        X(PERMISSION, DENIED, "grant it to the user, and to the token, with pveum acl modify")                         \
        X(BAD_PARAMETER, INVALID, NULL)                                                                                \
        X(UNSUPPORTED, UNIMPLEMENTED, "this Proxmox VE is too old or too new for it")                                  \
        X(MISSING, NOT_FOUND, NULL)                                                                                    \
        X(NO_SNAPSHOT, NOT_FOUND, NULL)                                                                                \
        X(NO_VOLUME, PRECONDITION, NULL)                                                                               \
        X(NO_STORAGE, PRECONDITION, "pvesm status on the node shows its storages")                                     \
        X(NO_NODE, PRECONDITION, "pvecm nodes shows the cluster's nodes")                                              \
        X(NO_TASK, NOT_FOUND, NULL)                                                                                    \
        X(EXISTS, EXISTS, NULL)                                                                                        \
        X(NOT_RUNNING, PRECONDITION, NULL)                                                                             \
        X(ALREADY_RUNNING, PRECONDITION, NULL)                                                                         \
        X(RUNNING, PRECONDITION, "stop it first")                                                                      \
        X(PROTECTED, PRECONDITION, "take its protection away first")                                                   \
        X(LOCKED, ABORTED, "another operation has it; a lock that was left behind is removed by pct unlock")           \
        X(LOCK_TIMEOUT, ABORTED, "another operation has it; try again")                                                \
        X(MODIFIED, ABORTED, "read it again")                                                                          \
        X(NO_QUORUM, UNAVAILABLE, "too few of the cluster's nodes see each other: pvecm status")                       \
        X(NO_SPACE, EXHAUSTED, "make room on the storage")                                                             \
        X(TASK_KILLED, ABORTED, "the task was killed, what it did is half done")

enum pve_kind {
        PVE_NONE,
#define PVE_KIND(kind, code, advice) PVE_##kind,
        PVE_KINDS(PVE_KIND)
#undef PVE_KIND
};

static inline enum pve_kind pve_kind(const struct err *err) {
        return (enum pve_kind) err->kind;
}
const char *pve_kind_name(enum pve_kind kind); /* "LOCKED" */

/* @status: of HTTP, 0 for what a task ended with. @text: the message, its first line counts. */
enum pve_kind pve_kind_of(unsigned status, const char *text);

/* Raises; the advice for @kind is put behind the text. */
_printf_(3, 4) int pve_raise(struct err *err, enum pve_kind kind, const char *fmt, ...);
#define pve_raise(...) err_raised(pve_raise(__VA_ARGS__))

/* Line breaks of @text become "; ", other control bytes blanks; no more than @max bytes. For messages. */
void pve_one_line(char *text, size_t max);
