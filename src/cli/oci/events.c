/* SPDX-License-Identifier: Apache-2.0 */
/* events - a container's statistics, and when it runs out of memory, one JSON object a line, until it ends. */
#include <limits.h>
#include <stdio.h>
#include "base/json.h"
#include "base/proc.h"
#include "base/str.h"
#include "cli/oci/runtime.h"
#include "cli/oci/stats.h"
#include "cli/oci/values.h"
#include "runtime/cgroup/oom.h"

enum { INTERVAL_MS = 5000 };

static void print_event(const struct runtime_container *c, const char *type, json_t *data) {
        _cleanup_(json_unrefp) json_t *event = json_pack("{s:s s:s}", "type", type, "id", c->state.id);

        if (data)
                (void) json_object_set_new(event, "data", data);
        (void) json_dumpf(event, stdout, JSON_COMPACT);
        (void) putchar('\n');
        (void) fflush(stdout);
}

static int print_stats(const struct runtime_container *c, struct err *err) {
        json_t *data = stats_json(c->cgroups, c->state.cgroup_path);

        if (!data)
                return err_set(err, ERR_PRECONDITION, "container %s has no control group any more", c->state.id);
        print_event(c, "stats", data);
        return 0;
}

/* Until the group has events, the container has ended, or it is time for numbers. False: it has ended. */
static bool wait_event(const struct runtime_container *c, struct oom_watch *oom, int pidfd, int timeout_ms) {
        struct err err;
        int n = oom_watch_wait(oom, pidfd, timeout_ms, &err);

        for (; n > 0; n--)
                print_event(c, "oom", NULL);
        return n == 0 && !proc_wait_gone(pidfd, 0);
}

static int follow(const struct runtime_container *c, uint64_t interval_ms, struct err *err) {
        _cleanup_(fd_closep) int pidfd = proc_open(c->state.pid, c->state.start_time);
        _cleanup_(oom_watch_done) struct oom_watch oom = OOM_WATCH_EMPTY;
        uint64_t next = clock_monotonic_ns() / 1000000;
        int r = oom_watch_open(c->cgroups, c->state.cgroup_path, &oom, err);

        if (r == -ERR_PRECONDITION) /* nothing limits memory here */
                r = 0;
        while (r == 0 && pidfd >= 0 && !ferror(stdout)) {
                uint64_t now = clock_monotonic_ns() / 1000000;

                if (now >= next) {
                        r = print_stats(c, err);
                        next = now + interval_ms;
                } else if (!wait_event(c, &oom, pidfd, (int) MIN_OF(next - now, (uint64_t) INT_MAX))) {
                        break;
                }
        }
        return r;
}

int oci_do_events(struct runtime *rt, const struct cli_args *args, struct err *err) {
        _cleanup_(runtime_container_done) struct runtime_container c = { .dir = OCI_DIR_EMPTY };
        const char *interval = args_value(args, "interval");
        uint64_t interval_ms = INTERVAL_MS;
        int r;

        if (interval && (!str_to_duration(interval, &interval_ms) || interval_ms == 0))
                return err_set(err, ERR_INVALID, "invalid interval \"%.32s\": it is a time, \"5s\", \"1m\"", interval);
        r = runtime_open(rt, args->rest[0], &c, err);
        if (r == 0 && (c.status == OCI_STOPPED || c.status == OCI_CREATING))
                r = err_set(err, ERR_PRECONDITION, "container with id %s is not running", c.state.id);
        if (r == 0 && str_empty(c.state.cgroup_path))
                r = err_set(err, ERR_PRECONDITION, "container %s has no control group of its own", c.state.id);
        if (r < 0)
                return r;
        return args_has(args, "stats") ? print_stats(&c, err) : follow(&c, interval_ms, err);
}
