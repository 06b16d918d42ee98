/* SPDX-License-Identifier: Apache-2.0 */
/* kill - signals, to the container's first process or to all; stop; pause and resume. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include "base/proc.h"
#include "base/str.h"
#include "oci/creation.h"
#include "oci/intel-rdt.h"

enum { FREEZE_TIMEOUT_MS = 10000, KILL_TIMEOUT_MS = 10000 };

struct target {
        struct oci_dir dir;
        struct oci_state state;
        enum oci_status status;
        struct cgroups *cgroups;
};

static void target_done(struct target *t) {
        t->cgroups = cgroups_free(t->cgroups);
        oci_dir_done(&t->dir);
}

/* @cgroups: look at them, too, for whether it is paused. */
static int target_open(const struct oci *o, const char *id, bool cgroups, struct target *ret, struct err *err) {
        int r;

        *ret = (struct target){ .dir = OCI_DIR_EMPTY };
        r = oci_dir_open(o->root, id, false, &ret->dir, err);
        if (r == 0)
                r = oci_state_read(&ret->dir, o->arena, &ret->state, err);
        if (r == 0 && cgroups)
                r = cgroups_new(&ret->cgroups, err);
        if (r == 0)
                ret->status = oci_dir_status(&ret->dir, &ret->state, ret->cgroups);
        return r;
}

static int signal_init(const struct oci_state *s, int sig, struct err *err) {
        _cleanup_(fd_closep) int pidfd = proc_open(s->pid, s->start_time);
        int r = pidfd < 0 ? -ESRCH : proc_signal(pidfd, sig);

        if (r == -ESRCH)
                return err_set(err, ERR_PRECONDITION, "container not running");
        return r < 0 ? err_sys(err, -r, "send signal %d to container %s", sig, s->id) : 0;
}

int oci_kill(const struct oci *o, const char *id, int sig, bool all, struct err *err) {
        _cleanup_(target_done) struct target t = { 0 };
        int r = target_open(o, id, all, &t, err);

        if (r < 0)
                return r;
        /* Engines call "kill --all" for what a first process without a PID namespace of its own has left behind. */
        if (all && (t.state.cgroup_made || *t.state.engine)) {
                r = cgroup_signal_all(t.cgroups, t.state.cgroup_path, sig, err);
                return r == -ERR_NOT_FOUND ? 0 : r;
        }
        if (t.status == OCI_STOPPED || t.status == OCI_CREATING)
                return err_set(err, ERR_PRECONDITION, "container not running");
        return signal_init(&t.state, sig, err);
}

int oci_stop(const struct oci *o, const char *id, int sig, unsigned timeout_ms, struct err *err) {
        _cleanup_(target_done) struct target t = { 0 };
        _cleanup_(fd_closep) int pidfd = -1;
        int r = target_open(o, id, true, &t, err);

        if (r < 0)
                return r;
        pidfd = proc_open(t.state.pid, t.state.start_time);
        if (pidfd < 0 || t.status == OCI_STOPPED)
                return 0;
        if (t.status == OCI_PAUSED)
                r = cgroup_freeze(t.cgroups, t.state.cgroup_path, false, FREEZE_TIMEOUT_MS, err);
        if (r == 0 && timeout_ms > 0)
                r = signal_init(&t.state, sig, err);
        if (r < 0 && r != -ERR_PRECONDITION)
                return r;
        if (timeout_ms > 0 && proc_wait_gone(pidfd, (int) timeout_ms))
                return 0;
        (void) proc_signal(pidfd, SIGKILL);
        if (!proc_wait_gone(pidfd, KILL_TIMEOUT_MS))
                return err_set(err, ERR_DEADLINE, "container %s has not ended %d s after SIGKILL", id,
                               KILL_TIMEOUT_MS / 1000);
        return 0;
}

static int freeze(const struct oci *o, const char *id, bool on, struct err *err) {
        _cleanup_(target_done) struct target t = { 0 };
        int r = target_open(o, id, true, &t, err);

        if (r < 0)
                return r;
        if (on && t.status != OCI_RUNNING && t.status != OCI_CREATED)
                return err_set(err, ERR_PRECONDITION, "container not running or created: %s",
                               oci_status_name(t.status));
        if (!on && t.status != OCI_PAUSED)
                return err_set(err, ERR_PRECONDITION, "container not paused");
        return cgroup_freeze(t.cgroups, t.state.cgroup_path, on, FREEZE_TIMEOUT_MS, err);
}

int oci_pause(const struct oci *o, const char *id, struct err *err) {
        return freeze(o, id, true, err);
}

int oci_resume(const struct oci *o, const char *id, struct err *err) {
        return freeze(o, id, false, err);
}

int oci_update(const struct oci *o, const char *id, const struct spec_resources *r, const struct oci_intel_rdt *rdt,
               struct err *err) {
        _cleanup_(target_done) struct target t = { 0 };
        struct cgroup_place place;
        int res = target_open(o, id, true, &t, err);

        if (res < 0)
                return res;
        if (t.status == OCI_STOPPED || t.status == OCI_CREATING)
                return err_set(err, ERR_PRECONDITION, "cannot update a container in the %s state",
                               oci_status_name(t.status));
        if (rdt && str_empty(t.state.rdt_tasks))
                return err_set(err, ERR_PRECONDITION,
                               "update Intel RDT of container %s: it was made without linux.intelRdt, so it has no "
                               "group of resctrl",
                               id);
        if (rdt && (res = intel_rdt_update(t.state.rdt_tasks, rdt, o->arena, err)) < 0)
                return res;
        if (*t.state.engine)
                return o->engine->update(o->engine, &t.state, r, err);
        place = oci_cgroup_place(&t.state);
        return cgroup_place_update(t.cgroups, &place, r, err);
}

/* The watcher is in the group until it goes home, and no process of the container's. */
static void leave_out(pid_t *pids, size_t *n, pid_t pid) {
        size_t kept = 0;

        for (size_t i = 0; i < *n; i++)
                if (pids[i] != pid)
                        pids[kept++] = pids[i];
        *n = kept;
}

int oci_ps(const struct oci *o, const char *id, pid_t **ret, size_t *ret_n, struct err *err) {
        _cleanup_(target_done) struct target t = { 0 };
        int r = target_open(o, id, true, &t, err);

        if (r < 0)
                return r;
        *ret = NULL;
        *ret_n = 0;
        if (t.status == OCI_STOPPED)
                return 0;
        r = cgroup_processes(t.cgroups, t.state.cgroup_path, ret, ret_n, err);
        if (r == 0)
                leave_out(*ret, ret_n, t.state.watcher_pid);
        return r;
}
