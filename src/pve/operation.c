/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/operation.h"

#include <string.h>
#include <time.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "pve/client.h"
#include "pve/task.h"
#include "pve/upid.h"

enum {
        LOST_MAX = 3,
        LOST_PAUSE_MS = 500,
        CLOCK_SLACK_S = 1,
        LOCK_ATTEMPT_FIRST = 2,
        LOCK_ATTEMPT_MS = 500, /* that must be left for another attempt */
};

/* What becomes of an operation over its attempts. */
struct run {
        struct pve *p;
        const struct pve_operation *op;
        char upid[UPID_MAX + 1]; /* of the last task that it made */
        int64_t since_s;         /* by the node's clock: when the attempt began */
        unsigned lost;           /* attempts whose answer did not come */
};

/* --- which task an attempt has made ------------------------------------------------------------------------------- */

/* Another operation's task is none of this one's, however alike they are. */
static bool is_seen(struct pve *p, const char *upid) {
        bool found = false;

        pthread_mutex_lock(&p->seen_lock);
        for (size_t i = 0; i < PVE_TASKS_SEEN && !found; i++)
                found = p->seen[i] && str_eq(p->seen[i], upid);
        pthread_mutex_unlock(&p->seen_lock);
        return found;
}

static void take_task(struct run *run, const char *upid) {
        struct pve *p = run->p;
        char **place;

        (void) snprintf(run->upid, sizeof(run->upid), "%s", upid);
        pthread_mutex_lock(&p->seen_lock);
        place = &p->seen[p->n_seen++ % PVE_TASKS_SEEN];
        free(*place);
        *place = xstrdup(upid);
        pthread_mutex_unlock(&p->seen_lock);
}

/* The newest of @tasks that this attempt may have made, or NULL. */
static const char *newest(const struct run *run, const json_t *tasks) {
        const char *found = NULL;
        uint64_t best = 0;
        const json_t *task;
        size_t i;

        json_array_foreach(tasks, i, task) {
                const char *upid = pve_json_str(task, "upid");
                struct upid u;

                if (upid && upid_parse(upid, &u) && str_eq(u.type, run->op->type) && str_eq(u.id, run->op->task_id) &&
                    str_eq(u.user, pve_identity(run->p)) && (int64_t) u.starttime >= run->since_s &&
                    u.starttime >= best && !is_seen(run->p, upid)) {
                        best = u.starttime;
                        found = upid;
                }
        }
        return found;
}

/* The answer was lost, but a task may have been made. 1: it is run->upid; 0: there is none. */
static int find_task(struct run *run, struct err *err) {
        _cleanup_(freep) char *path = xprintf("/nodes/%s/tasks", run->op->node);
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const struct pve_request req = { .path = path, .params = &params, .until = run->op->until };
        _cleanup_(json_unrefp) json_t *answer = NULL;
        const char *upid;
        int r;

        pve_param(&params, "source", "all");
        pve_param(&params, "typefilter", run->op->type);
        pve_param_printf(&params, "since", "%" PRIi64, run->since_s);
        r = pve_call(run->p, &req, &answer, err);
        if (r < 0)
                return err_wrap(err, "find out whether a lost request was done");
        upid = newest(run, json_object_get(answer, "data"));
        if (!upid)
                return 0;
        take_task(run, upid);
        return 1;
}

/* After a lost answer: 1 when there is a task, 0 when the request can be sent again, else the error. */
static int settle(struct run *run, struct err *err) {
        struct err why = *err;
        int r;

        if (!run->op->type && run->op->done == PVE_NONE)
                return -(int) err->code;
        for (unsigned i = 0; run->op->type && i < LOST_MAX; i++) {
                /* It may be on its way still. */
                r = http_pause(run->op->until->cancel_fd, run->op->until->deadline_ns, LOST_PAUSE_MS, err);
                if (r == 0)
                        r = find_task(run, err);
                if (r < 0)
                        err->kind = PVE_LOST;
                if (r != 0)
                        return r;
        }
        log_debug("a lost request to Proxmox VE left no trace", "path", run->op->path, "error", why.msg, NULL);
        *err = why;
        return ++run->lost < LOST_MAX ? 0 : -(int) err->code;
}

/* One attempt. 1: to be done again, because its answer was lost and nothing came of it. */
static int attempt(struct run *run, unsigned *ret_warnings, struct err *err) {
        const struct pve_operation *op = run->op;
        const struct pve_request req = { .method = op->method,
                                         .path = op->path,
                                         .params = op->params,
                                         .parts = op->parts,
                                         .repeatable = op->repeatable,
                                         .until = op->until };
        _cleanup_(json_unrefp) json_t *answer = NULL;
        const char *upid;
        int r;

        run->since_s = pve_server_time_s(run->p) - CLOCK_SLACK_S;
        r = pve_call(run->p, &req, &answer, err);
        if (r < 0 && pve_kind(err) == PVE_LOST && err->code == ERR_UNAVAILABLE) {
                r = settle(run, err);
                if (r <= 0)
                        return r < 0 ? r : 1;
        } else if (r < 0) {
                return r;
        } else if (op->type) {
                upid = pve_json_str(answer, "data");
                if (!upid || strlen(upid) > UPID_MAX)
                        return pve_raise(err, PVE_FOREIGN, "%s %s: the answer names no task", op->method, op->path);
                take_task(run, upid);
        }
        return op->type ? pve_task_wait(run->p, run->upid, op->until, op->progress, ret_warnings, err) : 0;
}

/* The name of the line at @place, or NULL; caller frees. */
static char *line_at(const char *place, enum pve_line line) {
        if (!place || line == PVE_LINE_NONE)
                return NULL;
        return xprintf("%s%s", place, line == PVE_LINE_LONG ? " (long)" : "");
}

static int attempt_in_line(struct run *run, unsigned *ret_warnings, struct err *err) {
        const struct pve_operation *op = run->op;
        _cleanup_(freep) char *node = line_at(op->node, op->line), *storage = line_at(op->storage, op->line);
        struct pve *p = run->p;
        int r = gate_enter(p->nodes, node, op->until, err);

        if (r < 0)
                return r;
        r = gate_enter(p->storages, storage, op->until, err);
        if (r == 0) {
                r = attempt(run, ret_warnings, err);
                gate_leave(p->storages, storage);
        }
        gate_leave(p->nodes, node);
        return r;
}

static bool is_lock(const struct err *err) {
        return pve_kind(err) == PVE_LOCKED || pve_kind(err) == PVE_LOCK_TIMEOUT;
}

/* Waits, outside of the line; to the end when what is sent afterwards could not be answered in time, as it would be
 * unknown then whether it was done. @err says what the lock is; it is kept when time is over. */
static int back_off(const struct run *run, unsigned n, struct err *err) {
        const struct pve_until *until = run->op->until;
        uint64_t ms = http_backoff_ms(n), now_ns = clock_monotonic_ns();
        struct err stop;
        int r;

        if (until->deadline_ns < now_ns + (ms + LOCK_ATTEMPT_MS) * 1000000)
                ms += LOCK_ATTEMPT_MS;
        r = http_pause(until->cancel_fd, until->deadline_ns, (unsigned) ms, &stop);
        if (r == 0)
                return 0;
        (void) err_wrap(err, "%s", stop.msg);
        err->code = stop.code;
        return r;
}

/* Somebody else has the lock: is it to be waited for? Whoever follows the operation is told once. */
static bool wait_for_lock(const struct run *run, uint64_t since_ns, bool first, const struct err *err) {
        const struct pve_progress *progress = run->op->progress;

        if (run->op->lock_wait_ms && clock_monotonic_ns() - since_ns >= run->op->lock_wait_ms * UINT64_C(1000000))
                return false;
        if (first && progress)
                progress->line(err->msg, progress->userdata);
        return true;
}

int pve_operate(struct pve *p, const struct pve_operation *op, unsigned *ret_warnings, struct err *err) {
        const uint64_t since_ns = clock_monotonic_ns();
        struct run run = { .p = p, .op = op };
        int r;

        for (unsigned n = LOCK_ATTEMPT_FIRST;; n++) {
                r = attempt_in_line(&run, ret_warnings, err);
                if (r == 0)
                        return 0;
                /* The first, or one before, did arrive. */
                if (r < 0 && run.lost > 0 && op->done != PVE_NONE && pve_kind(err) == op->done)
                        return 0;
                if (r < 0 && !(is_lock(err) && wait_for_lock(&run, since_ns, n == LOCK_ATTEMPT_FIRST, err)))
                        return r;
                r = r < 0 ? back_off(&run, n, err) : 0;
                if (r < 0)
                        return r;
        }
}
