/* SPDX-License-Identifier: Apache-2.0 */
/* jobs - the backend's functions on the pool, and their results back on the loop. A job outlives the session that
 * started it, and the server too, if it has to. Private to streaming/. */
#pragma once
#include "base/cleanup.h"
#include "base/err.h"
#include "base/pool.h"

struct jobs; /* counted: running jobs hold it */

struct job {
        /* Set before job_start(). */
        int (*run)(struct job *j, struct err *err);           /* on the pool; may block until cancel_fd is readable */
        void (*done)(struct job *j, void *owner, int result); /* on the loop; not called when the owner has gone */
        void (*release)(struct job *j);                       /* any thread: free it and what it holds */
        void *owner;

        int cancel_fd;
        int result;
        struct err err;
        struct jobs *jobs;
        struct job *next;
};

_must_use_ int jobs_new(struct pool *pool, struct jobs **ret, struct err *err);
/* Loop thread: nobody will collect any more. */
struct jobs *jobs_close(struct jobs *s);
DEFINE_CLEANUP(struct jobs *, jobs_close)

int jobs_wake_fd(const struct jobs *s); /* readable when there is something to collect */
/* Loop thread: call "done" of the jobs that have ended. */
void jobs_collect(struct jobs *s);

/* Loop thread. Takes @j, also on failure (then it is released). */
_must_use_ int job_start(struct jobs *s, struct job *j, struct err *err);
/* Loop thread: the owner goes; whatever the job still does is in vain. */
void job_abandon(struct job *j);
