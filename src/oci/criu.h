/* SPDX-License-Identifier: Apache-2.0 */
/* criu - one request to CRIU, the program of that name in $PATH, as its child ("criu swrk"). Private to oci/.
 * Single-threaded. */
#pragma once
#include "oci/criu-wire.h"

/* Told of each step that CRIU announces ("setup-namespaces", "post-restore", "orphan-pts-master" ...). @fd: came with
 * it, -1: none; closed by the caller. A failure makes CRIU take everything back. */
typedef int criu_notified(const char *script, int pid, int fd, void *userdata, struct err *err);

struct criu_call {
        enum criu_type type;
        const struct criu_options *options;  /* but for its folders */
        const char *images_path, *work_path; /* that are there */
        /* Descriptors that CRIU gets beside 0, 1, 2; they keep their numbers. Ends with -1. */
        const int *keep_fds;
        /* A folder becomes a mount of its own there in CRIU's mount namespace, which it then has: its options' root.
         * NULL: it stays in ours. */
        const char *bind_source, *bind_target;
        criu_notified *notified; /* NULL: nobody wants to know */
        void *userdata;
        const char *log_path; /* where the log is, for errors */
        struct arena *arena;
};
/* @ret_pid: of a restored root process, else 0. */
_must_use_ int criu_run(const struct criu_call *call, int *ret_pid, struct err *err);
