/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "base/proc.h"
#include "base/str.h"
#include "oci/creation.h"
#include "oci/lost.h"
#include "runtime/hooks/hooks.h"

enum { END_TIMEOUT_MS = 10000, WATCHER_TIMEOUT_MS = 2000 };

static void end_process(pid_t pid, uint64_t start_time, int timeout_ms, bool kill_first) {
        _cleanup_(fd_closep) int fd = pid > 0 ? proc_open(pid, start_time) : -1;

        if (fd < 0)
                return;
        if (kill_first)
                (void) proc_signal(fd, SIGKILL);
        if (!proc_wait_gone(fd, timeout_ms))
                (void) proc_signal(fd, SIGKILL);
}

/* Only a group that we made has nobody else in it; and what shares somebody's PID namespace may live on in it. */
static int remove_cgroup(const struct oci_state *s, struct cgroups *cgroups, struct err *err) {
        struct cgroup_place place = oci_cgroup_place(s);
        int r = 0;

        if ((!s->cgroup_made && !s->cgroup_making) || str_empty(s->cgroup_path))
                return 0;
        if (s->cgroup_making) { /* whoever made it was killed: what is in it by now is somebody else's */
                r = cgroup_remove(cgroups, s->cgroup_path, err);
                /* systemd may keep a scope without a process, or be about to make it. */
                if (r == 0)
                        r = cgroup_place_remove(cgroups, &place, err);
                return r == -ERR_PRECONDITION ? 0 : r;
        }
        if (!s->own_pid_ns || s->pid <= 0)
                r = cgroup_kill(cgroups, s->cgroup_path, END_TIMEOUT_MS, err);
        return r < 0 ? r : cgroup_place_remove(cgroups, &place, err);
}

/* Its failure is a warning: the container is gone all the same. */
static void run_poststop(const struct oci *o, const struct oci_dir *d, const struct oci_state *s) {
        struct hook_state state = oci_hook_state(s, "stopped");
        struct oci_config config;
        const char *text;
        struct err err;
        size_t len;

        if (oci_dir_read_config(d, o->arena, &text, &len, &err) < 0)
                return; /* it was never made */
        /* Most have no such hooks. To tell, nothing has to be parsed where no name can hide behind a "\u". */
        if (!strstr(text, "poststop") && !strchr(text, '\\'))
                return;
        if (oci_config_parse(text, len, s->bundle, o->arena, &config, &err) < 0)
                return;
        for (size_t i = 0; i < config.spec.hooks.n[SPEC_HOOK_POSTSTOP]; i++) {
                struct spec_hooks one = { .list[SPEC_HOOK_POSTSTOP] = config.spec.hooks.list[SPEC_HOOK_POSTSTOP] + i,
                                          .n[SPEC_HOOK_POSTSTOP] = 1 };

                if (hooks_run(&one, SPEC_HOOK_POSTSTOP, &state, 0, &err) < 0)
                        o->warn(err.msg, o->userdata);
        }
}

/* What another engine than LXC made of it. */
static int remove_by_engine(const struct oci *o, const struct oci_state *s, struct err *err) {
        const struct oci_engine *e = o->engine;

        if (str_empty(s->engine))
                return 0;
        if (!e || !str_eq(e->name, s->engine))
                return err_set(err, ERR_INTERNAL, "container %s is the engine %s's, which is not here", s->id,
                               s->engine);
        return e->remove(e, o, s, err);
}

int oci_destroy(const struct oci *o, struct oci_dir *d, const struct oci_state *s, struct cgroups *cgroups,
                struct err *err) {
        int r;

        /* What is frozen can't die on cgroup v1. */
        if (cgroups && s->cgroup_made && cgroup_is_frozen(cgroups, s->cgroup_path) &&
            cgroup_freeze(cgroups, s->cgroup_path, false, END_TIMEOUT_MS, err) < 0)
                return -(int) err->code;
        end_process(s->pid, s->start_time, END_TIMEOUT_MS, true);
        end_process(s->watcher_pid, s->watcher_start, WATCHER_TIMEOUT_MS, s->pid <= 0);
        r = remove_by_engine(o, s, err);
        if (r == 0 && cgroups)
                r = remove_cgroup(s, cgroups, err);
        if (r < 0)
                return r;
        r = intel_rdt_remove(s->rdt_made, err);
        if (r < 0)
                return r;
        run_poststop(o, d, s);
        return oci_dir_remove(d, err);
}

/* The state is written before anything is made. One without it was never made, unless somebody took it away: then there
 * is the socket at least, which comes later. */
static int read_state(const struct oci *o, const struct oci_dir *d, bool force, struct cgroups *cgroups,
                      struct oci_state *ret, struct err *err) {
        int r = oci_state_read(d, o->arena, ret, err);

        if (r == 0 && (!str_empty(ret->created) || faccessat(d->fd, OCI_START_SOCKET, F_OK, AT_SYMLINK_NOFOLLOW) < 0))
                return 0;
        if (r == 0)
                r = err_set(err, ERR_PRECONDITION, "the state of container %s is gone", d->id);
        if (!force)
                return err_wrap(err, "\"delete --force\" looks for what is left of it");
        o->warn(err->msg, o->userdata);
        lost_find(o, d, cgroups, ret);
        return 0;
}

int oci_delete(const struct oci *o, const char *id, bool force, struct err *err) {
        _cleanup_(oci_dir_done) struct oci_dir d = OCI_DIR_EMPTY;
        _cleanup_(cgroups_freep) struct cgroups *cgroups = NULL;
        enum oci_status status;
        struct oci_state s = { 0 };
        int r;

        oci_dir_sweep(o->root);
        r = oci_dir_open(o->root, id, true, &d, err);
        if (r == -ERR_NOT_FOUND && force)
                return 0;
        if (r == 0)
                r = cgroups_new(&cgroups, err);
        if (r == 0)
                r = read_state(o, &d, force, cgroups, &s, err);
        if (r < 0)
                return r;
        status = oci_dir_status(&d, &s, NULL);
        if (!force && status != OCI_STOPPED && status != OCI_CREATED)
                return err_set(err, ERR_PRECONDITION, "cannot delete container %s that is not stopped: %s", id,
                               oci_status_name(status));
        return oci_destroy(o, &d, &s, cgroups, err);
}
