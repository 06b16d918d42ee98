/* SPDX-License-Identifier: Apache-2.0 */
/* run - create, start, and stay with the container until it ends. */
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/proc.h"
#include "oci/creation.h"
#include "oci/foreground.h"
#include "oci/notify.h"

enum { SUPERVISOR_TIMEOUT_MS = 10000 };

/* Another engine's is no child of ours; its first process tells how it ended, and ends itself. */
static int ask_how_it_ended(const struct creation *c, int *ret_status, struct err *err) {
        _cleanup_(fd_closep) int supervisor = proc_open(c->state.watcher_pid, c->state.watcher_start);

        if (supervisor >= 0)
                (void) proc_wait_gone(supervisor, SUPERVISOR_TIMEOUT_MS);
        *ret_status = oci_exit_status(c->exit_file);
        return 0;
}

static int wait_for_end(const struct creation *c, int signals, int *ret_status, struct err *err) {
        /* Init is our child by now: its own parent has ended, and we adopt. */
        const struct foreground f = {
                .signals = signals, .pid = *c->state.engine ? 0 : c->state.pid, .pidfd = c->pidfd, .master = c->master
        };
        int r = foreground_wait(&f, ret_status, err);

        if (*c->state.engine)
                return r < 0 ? r : ask_how_it_ended(c, ret_status, err);
        /* The watcher, which ends with init, may be ours, too. */
        if (c->state.watcher_pid > 0)
                (void) waitpid(c->state.watcher_pid, NULL, 0);
        return r;
}

/* The lock isn't held meanwhile: somebody else may have deleted it, and even made another of that name. */
static int destroy(struct creation *c, struct err *err) {
        _cleanup_(oci_dir_done) struct oci_dir d = OCI_DIR_EMPTY;
        struct oci_state now = { 0 };
        int r;

        oci_dir_done(&c->dir);
        r = oci_dir_open(c->oci->root, c->args->id, true, &d, err);
        if (r == -ERR_NOT_FOUND)
                return 0;
        if (r == 0)
                r = oci_state_read(&d, c->oci->arena, &now, err);
        if (r < 0)
                return r;
        if (now.pid != c->state.pid || now.start_time != c->state.start_time)
                return 0;
        return oci_destroy(c->oci, &d, &c->state, c->cgroups, err);
}

/* In the foreground it is us whom our caller watches. */
static void see_it_ready(struct creation *c, bool detached, struct notify *n) {
        n->main_pid = detached ? c->state.pid : getpid();
        n->pidfd = c->pidfd;
        if (n->fd < 0)
                return;
        if (!detached) {
                notify_relay_in_thread(n);
                return;
        }
        oci_dir_done(&c->dir);
        notify_relay(n);
}

int oci_run(const struct oci *o, const struct oci_run_args *args, int *ret_status, struct err *err) {
        return oci_run_by(o, args, NULL, ret_status, err);
}

int oci_run_by(const struct oci *o, const struct oci_run_args *args, const struct creation_maker *maker,
               int *ret_status, struct err *err) {
        _cleanup_(creation_done) struct creation c = CREATION_EMPTY;
        static struct notify notify = NOTIFY_EMPTY; /* a thread's, until our process ends */
        _cleanup_(fd_closep) int signals = -1;
        struct err ignored;
        int r = 0;

        *ret_status = 0;
        if (!args->detach) {
                if (!args->no_subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                        r = err_sys(err, errno, "become a subreaper");
                if (r == 0)
                        r = foreground_catch_signals(&signals, err);
        }
        if (r == 0)
                r = maker ? creation_run_by(&c, o, &args->create, args->detach, maker, err)
                          : creation_run(&c, o, &args->create, args->detach, err);
        if (r < 0)
                return r;
        if (!maker || !maker->started) {
                r = notify_listen(&c.dir, &notify, err);
                if (r == 0)
                        r = oci_start_made(&c, err);
        }
        if (r == 0)
                see_it_ready(&c, args->detach, &notify);
        if (r == 0 && args->detach)
                return 0;
        if (r == 0) {
                oci_dir_done(&c.dir); /* others may exec, update, delete */
                r = wait_for_end(&c, signals, ret_status, err);
                if (r == 0)
                        notify_wait_for_thread(&notify);
        }
        if (r < 0)
                return destroy(&c, &ignored), r;
        return args->keep ? 0 : destroy(&c, err);
}
