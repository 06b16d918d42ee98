/* SPDX-License-Identifier: Apache-2.0 */
/* The engine "lxc": containers are LXC containers whose monitors the keeper forks. See README.md beside. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "keeper/client.h"
#include "runtime/crun/bundle.h"
#include "runtime/engine.h"
#include "runtime/hooks/bundle.h"
#include "runtime/hooks/hooks.h"
#include "runtime/lxc/create.h"
#include "runtime/lxc/files.h"
#include "runtime/lxc/items.h"
#include "runtime/lxc/oom-score.h"

enum {
        KILL_TIMEOUT_MS = 30000,
        END_TIMEOUT_MS = 5000,
        MONITOR_TIMEOUT_MS = 2000, /* for a monitor to see its init end, which takes some ms */
        BUNDLE_ARENA_MAX = 32 << 20
};

static struct engine_lxc *self(struct engine *e) {
        return (struct engine_lxc *) e;
}

static int unknown(const char *id, struct err *err) {
        return err_set(err, ERR_NOT_FOUND, "container %s is not known to the engine", id);
}

static void on_exited(const char *id, void *userdata) {
        struct engine_lxc *e = userdata;
        HOLD(h, &e->items, id);

        if (!h.item)
                return;
        item_set_ended(h.item);
        e->exited(id, e->userdata);
}

/* --- create
 * --------------------------------------------------------------------------------------------------------------- */

static int open_log(const char *path, int *ret_fd, struct err *err) {
        if (str_empty(path)) {
                *ret_fd = -1;
                return 0;
        }
        *ret_fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
        return *ret_fd < 0 ? err_sys(err, errno, "open the container's log file %s", path) : 0;
}

static int set_log(struct engine_lxc *e, const char *id, const char *path, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        struct keeper_call call = { .type = KEEPER_SET_LOG, .id = id, .fds = &fd, .cancel_fd = -1 };
        struct keeper_reply reply;
        int r;

        r = open_log(path, &fd, err);
        if (r < 0)
                return r;
        call.n_fds = fd >= 0;
        return keeper_client_call(e->keeper, &call, &reply, err);
}

static int compare_gid(const void *a, const void *b) {
        gid_t x = *(const gid_t *) a, y = *(const gid_t *) b;

        return x < y ? -1 : x > y;
}

static void fill_created(const struct keeper_reply *reply, struct engine_created *ret) {
        *ret = (struct engine_created){
                .pid = reply->pid,
                .start_time = reply->start_time,
                .uid = reply->ready.uid,
                .gid = reply->ready.gid,
                .n_groups = MIN_OF(reply->ready.n_groups, (size_t) SPEC_MAX_GROUPS),
        };
        for (size_t i = 0; i < ret->n_groups; i++)
                ret->groups[i] = reply->ready.groups[i];
        qsort(ret->groups, ret->n_groups, sizeof(ret->groups[0]), compare_gid);
}

static int create_in_cgroup(struct engine_lxc *e, const struct spec *spec, const struct engine_stdio *io,
                            struct item *item, struct engine_created *ret, struct err *err) {
        struct keeper_reply reply = { 0 };
        int r = spec->by_crun ? engine_create_by_crun(e, spec, io, &reply, err)
                              : engine_create_by_lxc(e, spec, io, &reply, err);

        if (r < 0)
                return r;
        fill_created(&reply, ret);
        item->dirfd = openat(e->containers_fd, spec->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        item->init_fd = proc_open(reply.pid, reply.start_time);
        if (item->dirfd < 0 || item->init_fd < 0)
                return err_sys(err, errno, "take hold of the new container");
        r = oom_score_set(spec, reply.pid, item->init_fd, err);
        if (r < 0)
                return r;
        return set_log(e, spec->id, io->log_path, err);
}

static int lxc_remove(struct engine *engine, const char *id, struct err *err);

static int lxc_create(struct engine *engine, const struct spec *spec, const struct engine_stdio *io,
                      struct engine_created *ret, struct err *err) {
        struct engine_lxc *e = self(engine);
        _cleanup_(fd_closep) int rootfs = spec->rootfs_mount_fd;
        struct item *item = item_new(spec->id, spec->cgroup_path, io->log_path);
        struct err ignored;
        int r;

        (void) rootfs; /* closed on return: the monitor has its own by then */
        r = cgroup_create(e->cgroups, spec->cgroup_path, &spec->resources, err);
        if (r < 0) {
                items_unref(&e->items, item);
                for (size_t i = 0; i < spec->n_mounts; i++)
                        (void) fd_close(spec->mounts[i].source_fd);
                return r;
        }
        items_add(&e->items, item);
        r = create_in_cgroup(e, spec, io, item, ret, err);
        items_unref(&e->items, item);
        if (r < 0 && lxc_remove(engine, spec->id, &ignored) < 0)
                log_error("cannot remove what is left of a container that failed", "container", spec->id, "error",
                          ignored.msg, NULL);
        return r;
}

static int lxc_kill(struct engine *engine, const char *id, struct err *err);

/* As runtime-spec 1.3 has it: a container whose poststart hooks fail is stopped. */
static int run_poststart(struct engine *engine, const char *id, const struct spec *spec, struct err *err) {
        struct engine_lxc *e = self(engine);
        char bundle[STATE_DIR_MAX + 128] = "";
        struct hook_state state = engine_hook_state(spec, bundle, "running");
        struct container_state s = { 0 };
        struct err ignored;
        HOLD(h, &e->items, id);
        int r;

        if (!h.item || container_state_read(h.item->dirfd, &s, &ignored) < 0)
                return unknown(id, err);
        (void) snprintf(bundle, sizeof(bundle), "%s/%s", e->bundles_dir, id);
        r = hooks_run(&spec->hooks, SPEC_HOOK_POSTSTART, &state, s.init_pid, err);
        if (r < 0 && lxc_kill(engine, id, &ignored) < 0)
                log_warn("cannot end a container whose hook failed", "container", id, "error", ignored.msg, NULL);
        return r;
}

/* Nothing but START lets init end by itself. */
static bool ran_meanwhile(struct engine_lxc *e, const char *id) {
        HOLD(h, &e->items, id);

        return h.item && h.item->dirfd >= 0 && container_has_exit(h.item->dirfd);
}

static int lxc_start(struct engine *engine, const char *id, struct err *err) {
        struct engine_lxc *e = self(engine);
        _cleanup_(arena_freep) struct arena *arena = arena_new(BUNDLE_ARENA_MAX);
        struct keeper_call call = { .type = KEEPER_START, .id = id, .cancel_fd = -1 };
        struct keeper_reply reply;
        struct spec spec = { .id = id };
        int r = bundle_read(e->bundles_dir, id, arena, &spec, err);

        if (r < 0)
                return r;
        call.timeout_ms = engine_timeout_with_hooks(&spec.hooks, SPEC_HOOK_START_CONTAINER);
        r = keeper_client_call(e->keeper, &call, &reply, err);
        if (r < 0 && err->code == ERR_UNAVAILABLE) {
                /* The keeper ended before it answered. The next one finds out what became of it. */
                r = keeper_client_call(e->keeper, &call, &reply, err);
                if (r < 0 && (err->code == ERR_EXISTS || ran_meanwhile(e, id)))
                        r = 0;
        }
        return r < 0 || spec.hooks.n[SPEC_HOOK_POSTSTART] == 0 ? r : run_poststart(engine, id, &spec, err);
}

/* --- signals and the end
 * ------------------------------------------------------------------------------------------------- */

static int lxc_signal(struct engine *engine, const char *id, int sig, struct err *err) {
        HOLD(h, &self(engine)->items, id);
        int r;

        if (!h.item)
                return unknown(id, err);
        r = h.item->init_fd < 0 ? -ESRCH : proc_signal(h.item->init_fd, sig);
        return r < 0 && r != -ESRCH ? err_sys(err, -r, "send signal %d to container %s", sig, id) : 0;
}

static int kill_item(struct engine_lxc *e, const struct item *i, struct err *err) {
        int r;

        /* The group still holds a monitor that has not gone home (monitor.c): it shall see how its init ended. */
        if (i->init_fd >= 0 && proc_signal(i->init_fd, SIGKILL) == 0)
                (void) item_wait_ended(i, MONITOR_TIMEOUT_MS, -1);
        /* In a shared PID namespace the others outlive their first process; and an init that changed its label may have
         * lost its death signal: the cgroup has them all. */
        r = cgroup_kill(e->cgroups, i->cgroup_path, KILL_TIMEOUT_MS, err);
        if (r < 0)
                return err_wrap(err, "kill container %s", i->id);
        return 0;
}

static int lxc_kill(struct engine *engine, const char *id, struct err *err) {
        struct engine_lxc *e = self(engine);
        HOLD(h, &e->items, id);
        int r;

        if (!h.item)
                return unknown(id, err);
        r = kill_item(e, h.item, err);
        if (r < 0)
                return r;
        if (!item_wait_ended(h.item, KILL_TIMEOUT_MS, -1))
                return err_set(err, ERR_DEADLINE, "container %s was killed but has not ended after %d s", id,
                               KILL_TIMEOUT_MS / 1000);
        return 0;
}

static bool lxc_wait(struct engine *engine, const char *id, int timeout_ms, int cancel_fd) {
        HOLD(h, &self(engine)->items, id);

        return !h.item || item_wait_ended(h.item, timeout_ms, cancel_fd);
}

static int lxc_get_exit(struct engine *engine, const char *id, struct engine_exit *ret, struct err *err) {
        struct engine_lxc *e = self(engine);
        HOLD(h, &e->items, id);
        struct container_exit x;
        struct err ignored;
        int r;

        if (!h.item)
                return unknown(id, err);
        if (!item_has_ended(h.item))
                return err_set(err, ERR_PRECONDITION, "container %s has not ended", id);
        if (cgroup_kill(e->cgroups, h.item->cgroup_path, KILL_TIMEOUT_MS, &ignored) < 0)
                log_warn("processes outlive their container", "container", id, "error", ignored.msg, NULL);
        r = h.item->dirfd < 0 ? err_set(err, ERR_DATA_LOSS, "no state") : container_exit_read(h.item->dirfd, &x, err);
        if (r < 0)
                x = (struct container_exit){
                        .code = 137, .signal = SIGKILL, .finished_at_ns = clock_realtime_ns(), .reason = "MonitorLost"
                };
        *ret = (struct engine_exit){
                .exit_code = x.code,
                .signal = x.signal,
                .finished_at_ns = x.finished_at_ns,
                .reason = str_eq(x.reason, "MonitorLost") ? "MonitorLost" : "",
        };
        return 0;
}

static enum engine_state lxc_get_state(struct engine *engine, const char *id) {
        HOLD(h, &self(engine)->items, id);

        if (!h.item)
                return ENGINE_GONE;
        if (item_has_ended(h.item))
                return ENGINE_STOPPED;
        return h.item->dirfd >= 0 && container_was_started(h.item->dirfd) ? ENGINE_RUNNING : ENGINE_CREATED;
}

/* A monitor that never got to READY, of a create that was given up. */
static void kill_monitor(struct engine_lxc *e, const char *id) {
        _cleanup_(fd_closep) int dirfd = openat(e->containers_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(fd_closep) int monitor = -1, init = -1;
        struct container_state s;
        struct err ignored;

        if (dirfd < 0 || container_state_read(dirfd, &s, &ignored) < 0)
                return;
        init = proc_open(s.init_pid, s.init_start);
        monitor = proc_open(s.monitor_pid, s.monitor_start);
        if (init >= 0) {
                (void) proc_signal(init, SIGKILL);
                (void) proc_wait_gone(init, KILL_TIMEOUT_MS);
        }
        /* Once its init is gone the monitor ends by itself; before there was one it has to be told. */
        if (monitor >= 0 && !proc_wait_gone(monitor, init >= 0 ? 1000 : 0)) {
                /* crun and the hooks that it runs are in its process group. */
                if (s.flags & KEEPER_SPAWN_CRUN)
                        (void) kill(-s.monitor_pid, SIGKILL);
                (void) proc_signal(monitor, SIGKILL);
                (void) proc_wait_gone(monitor, KILL_TIMEOUT_MS);
        }
}

/* Once all but its files is gone. They may run twice if the daemon is killed meanwhile, but never not at all. */
static void run_poststop(struct engine_lxc *e, const char *id) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(BUNDLE_ARENA_MAX);
        char bundle[STATE_DIR_MAX + 128];
        struct spec spec = { .id = id };
        struct hook_state state;
        struct err err;

        if (bundle_read(e->bundles_dir, id, arena, &spec, &err) < 0)
                log_warn("poststop hooks cannot be run", "container", id, "error", err.msg, NULL);
        (void) snprintf(bundle, sizeof(bundle), "%s/%s", e->bundles_dir, id);
        state = engine_hook_state(&spec, bundle, "stopped");
        hooks_run_all(&spec.hooks, SPEC_HOOK_POSTSTOP, &state, 0);
}

static int lxc_remove(struct engine *engine, const char *id, struct err *err) {
        struct engine_lxc *e = self(engine);
        struct item *item;
        int r = 0;

        if (strchr(id, '/') || id[0] == '.')
                return err_set(err, ERR_INVALID, "bad container id %s", id);
        item = items_get(&e->items, id);
        if (item)
                r = kill_item(e, item, err);
        if (r == 0)
                kill_monitor(e, id);
        /* What crun made meanwhile. */
        if (r == 0 && item && item->init_fd < 0)
                r = kill_item(e, item, err);
        /* The keeper writes the exit record of a monitor that was killed: not while its folder is being removed. */
        if (r == 0 && item && item->init_fd >= 0 && !item_wait_ended(item, END_TIMEOUT_MS, -1))
                log_warn("a container that was removed has not been seen to end", "container", id, NULL);
        if (r == 0 && item)
                r = cgroup_remove(e->cgroups, item->cgroup_path, err);
        if (r == 0) {
                run_poststop(e, id);
                r = bundle_remove(e->bundles_dir, id, err);
        }
        if (r == 0)
                r = crun_bundle_remove(e->state_dir, id, err);
        if (r == 0)
                r = fs_remove_tree(e->containers_fd, id, err);
        if (r == 0 && item) {
                items_remove(&e->items, item);
                item_set_ended(item);
        }
        items_unref(&e->items, item);
        return r;
}

/* --- exec
 * ------------------------------------------------------------------------------------------------------------------ */

static int lxc_exec(struct engine *engine, const struct engine_exec_args *args, int *ret_code, struct err *err) {
        struct engine_lxc *e = self(engine);
        _cleanup_(plan_done) struct plan plan = PLAN_EMPTY;
        _cleanup_(fd_closep) int null_fd = -1;
        HOLD(h, &e->items, args->id);
        int fds[SOCK_MAX_FDS];
        struct keeper_call call = {
                .type = KEEPER_EXEC,
                .id = args->id,
                .fds = fds,
                .flags = args->process->terminal ? KEEPER_EXEC_TERMINAL : 0,
                .timeout_ms = args->timeout_ms,
                .cancel_fd = args->cancel_fd,
                .watch = args->watch,
        };
        struct keeper_reply reply;
        int r;

        if (!h.item)
                return unknown(args->id, err);
        if (item_has_ended(h.item) || h.item->init_fd < 0)
                return err_set(err, ERR_PRECONDITION, "container %s is not running", args->id);
        r = args->user_ids ? engine_take_root(args->user_ids, &call, err) : 0;
        if (r < 0)
                return r;
        null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null_fd < 0)
                return err_sys(err, errno, "open /dev/null");
        r = plan_build_exec(args->process, e->cgroups, h.item->cgroup_path, &plan, err);
        if (r < 0)
                return r;
        fds[0] = plan.fd;
        fds[1] = h.item->init_fd;
        fds[2] = args->stdin_fd >= 0 ? args->stdin_fd : null_fd;
        fds[3] = args->stdout_fd >= 0 ? args->stdout_fd : null_fd;
        fds[4] = args->stderr_fd >= 0 ? args->stderr_fd : null_fd;
        if (args->process->terminal) {
                fds[2] = args->terminal_socket;
                fds[3] = fds[4] = null_fd;
        }
        memcpy(fds + PLAN_FD_FIRST, plan.fds, plan.n_fds * sizeof(int));
        call.n_fds = PLAN_FD_FIRST + plan.n_fds;
        r = keeper_client_call(e->keeper, &call, &reply, err);
        if (r < 0)
                return r;
        *ret_code = WIFSIGNALED(reply.status) ? 128 + WTERMSIG(reply.status) : WEXITSTATUS(reply.status);
        return 0;
}

/* --- the rest
 * ---------------------------------------------------------------------------------------------------------------- */

static int make_attach_pipe(bool wanted, int *ret_read, int *ret_write) {
        int p[2];

        *ret_read = *ret_write = -1;
        if (!wanted)
                return 0;
        if (pipe2(p, O_CLOEXEC) < 0)
                return -errno;
        *ret_read = p[0];
        *ret_write = p[1];
        return 0;
}

static int lxc_attach(struct engine *engine, const char *id, bool in, bool out, bool errs, struct engine_attached *ret,
                      struct err *err) {
        _cleanup_(fd_closep) int out_r = -1, out_w = -1, err_r = -1, err_w = -1, in_fd = -1;
        int fds[2];
        struct keeper_call call = {
                .type = KEEPER_ATTACH,
                .id = id,
                .flags = in ? KEEPER_ATTACH_STDIN : 0,
                .fds = fds,
                .cancel_fd = -1,
                .ret_fd = &in_fd,
        };
        struct keeper_reply reply;
        int r;

        /* The request names standard output first: whoever wants only errors gets a pipe for it, too, and closes it. */
        r = make_attach_pipe(out || errs, &out_r, &out_w);
        if (r == 0)
                r = make_attach_pipe(errs, &err_r, &err_w);
        if (r < 0)
                return err_sys(err, -r, "create pipes to attach to container %s", id);
        fds[0] = out_w;
        fds[1] = err_w;
        call.n_fds = (out_w >= 0) + (err_w >= 0);
        r = keeper_client_call(self(engine)->keeper, &call, &reply, err);
        if (r < 0)
                return r;
        if (!out)
                out_r = fd_close(out_r);
        *ret = (struct engine_attached){ .stdin_fd = TAKE_FD(in_fd),
                                         .stdout_fd = TAKE_FD(out_r),
                                         .stderr_fd = TAKE_FD(err_r) };
        return 0;
}

static int lxc_reopen_log(struct engine *engine, const char *id, const char *log_path, struct err *err) {
        return set_log(self(engine), id, log_path, err);
}

static int lxc_list(struct engine *engine, struct arena *arena, const char ***ret, struct err *err) {
        struct engine_lxc *e = self(engine);
        int fd = openat(e->containers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(closedirp) DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        const char **ids = NULL;
        size_t n = 0, cap = 0;
        struct dirent *entry;

        if (!d)
                return err_sys(err, errno, "list the containers' state folders");
        while ((entry = readdir(d))) {
                if (entry->d_name[0] == '.')
                        continue;
                xgrow(ids, n, cap);
                ids[n++] = arena_strdup(arena, entry->d_name);
        }
        *ret = arena_array(arena, const char *, n + 1);
        if (n)
                memcpy(*ret, ids, n * sizeof(*ids));
        free(ids);
        return 0;
}

/* A keeper that took over waits for the log's name before it takes anything out of the container's pipes; also of one
 * that has ended meanwhile. False: the keeper does not know the container. */
static bool name_log_again(struct engine_lxc *e, const struct item *i) {
        struct err err = { 0 };

        if (set_log(e, i->id, i->log_path, &err) == 0)
                return true;
        if (err.code == ERR_PRECONDITION)
                return false;
        log_warn("a container's output is dropped", "container", i->id, "error", err.msg, NULL);
        return set_log(e, i->id, NULL, &err) == 0 || err.code != ERR_PRECONDITION;
}

static int lxc_adopt(struct engine *engine, const char *id, const char *cgroup_path, const char *log_path,
                     struct err *err) {
        struct engine_lxc *e = self(engine);
        struct item *item = item_new(id, cgroup_path, log_path);
        struct container_state s = { 0 };
        struct err ignored;

        item->dirfd = openat(e->containers_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (item->dirfd < 0) {
                items_unref(&e->items, item);
                return unknown(id, err);
        }
        if (container_state_read(item->dirfd, &s, &ignored) == 0)
                item->init_fd = proc_open(s.init_pid, s.init_start);
        items_add(&e->items, item);
        /* The keeper tells of an end only once; whoever ended before has a record, or is not known to it any more. */
        if (!name_log_again(e, item) || container_has_exit(item->dirfd))
                item_set_ended(item);
        items_unref(&e->items, item);
        return 0;
}

static void on_keeper_restarted(void *userdata) {
        struct engine_lxc *e = userdata;
        size_t n;
        struct item **items = items_get_all(&e->items, &n), *i;

        for (size_t k = 0; k < n; k++) {
                i = items[k];
                if (!item_has_ended(i) && i->dirfd >= 0 && (!name_log_again(e, i) || container_has_exit(i->dirfd)))
                        on_exited(i->id, e);
                items_unref(&e->items, i);
        }
        free(items);
}

static void lxc_free(struct engine *engine) {
        struct engine_lxc *e = self(engine);

        if (e->keeper && map_size(e->items.map) == 0)
                keeper_client_end_keeper(e->keeper);
        (void) keeper_client_free(e->keeper);
        items_done(&e->items);
        (void) fd_close(e->containers_fd);
        (void) fd_close(e->home_fd);
        free(e->hooks_root);
        free(e);
}

static const struct engine_ops lxc_ops = {
        .name = "lxc",
        .create = lxc_create,
        .start = lxc_start,
        .signal = lxc_signal,
        .kill = lxc_kill,
        .wait = lxc_wait,
        .get_exit = lxc_get_exit,
        .exec = lxc_exec,
        .attach = lxc_attach,
        .reopen_log = lxc_reopen_log,
        .get_state = lxc_get_state,
        .remove = lxc_remove,
        .list = lxc_list,
        .adopt = lxc_adopt,
        .free = lxc_free,
};

static int prepare(struct engine_lxc *e, const char *state_dir, struct err *err) {
        char path[STATE_DIR_MAX + 16];
        int r;

        if (snprintf(e->state_dir, sizeof(e->state_dir), "%s", state_dir) >= (int) sizeof(e->state_dir))
                return err_set(err, ERR_INVALID, "the state folder's path is longer than %d bytes", STATE_DIR_MAX - 1);
        (void) snprintf(e->rootfs_dir, sizeof(e->rootfs_dir), "%s/rootfs", state_dir);
        (void) snprintf(path, sizeof(path), "%s/containers", state_dir);
        r = fs_mkdir_p(path, 0700, err);
        if (r < 0)
                return r;
        e->containers_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (e->containers_fd < 0)
                return err_sys(err, errno, "open %s", path);
        r = crun_prepare(state_dir, err);
        if (r < 0)
                return r;
        (void) snprintf(e->bundles_dir, sizeof(e->bundles_dir), "%s/bundles", state_dir);
        r = fs_mkdir_p(e->bundles_dir, 0711, err);
        if (r == 0)
                r = fs_mkdir_p(e->rootfs_dir, 0711, err);
        if (r < 0)
                return r;
        e->hooks_root = realpath(e->rootfs_dir, NULL);
        return e->hooks_root ? 0 : err_sys(err, errno, "find %s", e->rootfs_dir);
}

int engine_lxc_new(const struct engine_lxc_args *args, struct engine **ret, struct err *err) {
        struct engine_lxc *e = xnew(struct engine_lxc);
        struct keeper_client_args client = {
                .state_dir = e->state_dir,
                .keeper_path = args->keeper_path,
                .init_path = args->init_path,
                .log_level = args->log_level,
                .log_format = log_format_name(log_get_format()),
                .exited = on_exited,
                .restarted = on_keeper_restarted,
                .userdata = e,
        };
        int r;

        e->base.ops = &lxc_ops;
        e->cgroups = args->cgroups;
        e->exited = args->exited;
        e->userdata = args->userdata;
        e->containers_fd = e->home_fd = -1;
        items_init(&e->items);
        r = prepare(e, args->state_dir, err);
        plan_host_init(&e->host, args->cgroups);
        e->host.hooks_root = e->hooks_root;
        e->host.bundles = e->bundles_dir;
        if (r == 0)
                r = cgroup_open_home(args->cgroups, &e->home_fd, err);
        if (r == 0)
                r = keeper_client_new(&client, &e->keeper, err);
        if (r < 0) {
                lxc_free(&e->base);
                return r;
        }
        *ret = &e->base;
        return 0;
}

pid_t engine_lxc_keeper_pid(struct engine *e) {
        return keeper_client_pid(self(e)->keeper);
}

struct engine *engine_free(struct engine *e) {
        if (e)
                e->ops->free(e);
        return NULL;
}
