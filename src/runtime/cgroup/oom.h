/* SPDX-License-Identifier: Apache-2.0 */
/* oom - waiting until a group runs out of memory. One watch is one thread's. */
#pragma once
#include "runtime/cgroup/cgroup.h"

struct oom_watch {
        int event_fd; /* readable when there may be news; for a poll() of the caller's own */
        int dir_fd;
        bool v2;
        uint64_t kills;
};
#define OOM_WATCH_EMPTY ((struct oom_watch){ .event_fd = -1, .dir_fd = -1 })
void oom_watch_done(struct oom_watch *w);
/* Missing group: ERR_NOT_FOUND; no memory controller: ERR_PRECONDITION. */
_must_use_ int oom_watch_open(struct cgroups *c, const char *path, struct oom_watch *ret, struct err *err);
/* How often since the last time: kills on v2; on v1 times that it was out of memory, also those where killing is
 * switched off. 0: @cancel_fd (-1: none) became readable, or @timeout_ms (-1: for ever) passed, or it was something
 * else. The group's end: ERR_NOT_FOUND, on v1 at once, on v2 when it is looked at. */
_must_use_ int oom_watch_wait(struct oom_watch *w, int cancel_fd, int timeout_ms, struct err *err);
