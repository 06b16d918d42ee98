/* SPDX-License-Identifier: Apache-2.0 */
/* creation-spawn - what the launcher is to start, and what is said with init until it is READY. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "init/plan.h"
#include "net/net-device.h"
#include "oci/launcher.h"
#include "runtime/hooks/hooks.h"
#include "runtime/lxc/config.h"
#include "runtime/lxc/launch.h"
#include "runtime/lxc/oom-score.h"
#include "runtime/lxc/plan.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

enum { WATCHER_TIMEOUT_MS = 20000 }; /* for liblxc to enter its loop once init is there */

/* What one creation needs of descriptors while it lasts. */
struct spawning {
        struct creation *c;
        struct launcher *launcher;
        struct plan plan;
        struct lxc_config lxc;
        int rootfs, init_fd, null_fd;
};

static void spawning_done(struct spawning *s) {
        plan_done(&s->plan);
        lxc_config_done(&s->lxc);
        s->rootfs = fd_close(s->rootfs);
        s->init_fd = fd_close(s->init_fd);
        s->null_fd = fd_close(s->null_fd);
}

/* --- what it is made of ---------------------------------------------------------------------------------------------
 */

/* As runc: a symlink anywhere in the path is refused, since what it leads to may change. */
int creation_open_rootfs(const struct creation *c, int *ret, struct err *err) {
        struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
        const char *path = c->config.root_path;

        *ret = (int) syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
        if (*ret < 0 && errno == ELOOP)
                return err_set(err, ERR_INVALID, "root.path: invalid rootfs: %s: not an absolute path, or a symlink",
                               path);
        return *ret < 0 ? err_set(err, ERR_INVALID, "root.path: open %s: %s", path, strerror(errno)) : 0;
}

static int open_rootfs(struct spawning *s, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        int r = creation_open_rootfs(s->c, &fd, err);

        if (r < 0)
                return r;
        s->rootfs = (int) syscall(SYS_open_tree, fd, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH | O_CLOEXEC);
        return s->rootfs < 0 ? err_sys(err, errno, "take a copy of the root file system %s", s->c->config.root_path)
                             : 0;
}

static int build_plan(struct spawning *s, struct err *err) {
        struct spec *spec = &s->c->config.spec;
        struct plan_host host;

        plan_host_init(&host, s->c->cgroups);
        host.hooks_root = s->c->config.root_path;
        host.bundle = s->c->config.bundle;
        spec->start_socket = s->c->start_socket;
        return plan_build_init(spec, &host, &s->plan, err);
}

int creation_send_plan(const struct creation *c, const struct plan *plan, int null_fd, int sock, struct err *err) {
        int fds[SOCK_MAX_FDS] = { plan->fd };
        char type = PLAN_MSG_PLAN;
        int r;

        if (PLAN_FD_FIRST + plan->n_fds > SOCK_MAX_FDS)
                return err_set(err, ERR_EXHAUSTED, "a container can have at most %d mounts from outside",
                               SOCK_MAX_FDS - PLAN_FD_FIRST);
        for (int i = 0; i < 3; i++)
                fds[1 + i] = c->config.spec.process.terminal || fcntl(i, F_GETFD) < 0 ? null_fd : i;
        fds[4] = null_fd;
        memcpy(fds + PLAN_FD_FIRST, plan->fds, plan->n_fds * sizeof(int));
        r = sock_send(sock, &type, 1, fds, PLAN_FD_FIRST + plan->n_fds);
        return r < 0 ? err_sys(err, -r, "hand init its plan") : 0;
}

static int order(struct spawning *s, struct err *err) {
        char log_path[64];
        int r;

        (void) snprintf(log_path, sizeof(log_path), "/proc/self/fd/%d", s->launcher->log_fd);
        r = lxc_config_build(&s->c->config.spec, 0, log_path, LAUNCH_ROOTFS_DIR, &s->lxc, err);
        return r < 0 ? r : launcher_order(s->launcher, &s->lxc, s->rootfs, s->init_fd, err);
}

/* --- until READY
 * -------------------------------------------------------------------------------------------------------- */

/* The cause, of what liblxc has logged: its first error, but for one that it makes of every image without a /dev/null.
 */
static const char *first_error(char *log) {
        char *line, *rest = log, *text;

        while ((line = strsep(&rest, "\n")))
                if (strstr(line, "ERROR") && !strstr(line, "open_devnull")) {
                        text = strstr(line, " - ");
                        return text ? text + 3 : line;
                }
        return NULL;
}

static bool has_id(const struct id_map *maps, size_t n, uint32_t outside) {
        for (size_t i = 0; i < n; i++)
                if (outside >= maps[i].outside && outside - maps[i].outside < maps[i].length)
                        return true;
        return false;
}

/* Root of a user namespace has root's rights on what belongs to ids that it knows; on all else it is anybody. */
static bool is_shut_for_root(const struct spawning *s, struct stat *ret, uint32_t *ret_uid) {
        const struct id_maps *ids = &s->c->config.spec.user_ids;
        uint32_t gid;

        return id_maps_root(ids, ret_uid, &gid) && fstat(s->rootfs, ret) == 0 &&
               !(has_id(ids->uids, ids->n_uids, ret->st_uid) && has_id(ids->gids, ids->n_gids, ret->st_gid)) &&
               !(ret->st_mode & (ret->st_uid == *ret_uid ? S_IXUSR
                                 : ret->st_gid == gid    ? S_IXGRP
                                                         : S_IXOTH));
}

static int explain_end(const struct spawning *s, struct err *err) {
        char log[4096] = "";
        const char *error = pread(s->launcher->log_fd, log, sizeof(log) - 1, 0) > 0 ? first_error(log) : NULL;
        struct stat st;
        uint32_t uid;

        if (error && is_shut_for_root(s, &st, &uid))
                return err_set(
                        err, ERR_INVALID,
                        "root.path: %s: the root of the user namespace, who is user %u out here, may not enter "
                        "it: it is user %u's and group %u's, with mode %04o; give it to that user, or let others "
                        "enter it",
                        s->c->config.root_path, uid, st.st_uid, st.st_gid, st.st_mode & 07777);
        if (error)
                return err_set(err, ERR_INTERNAL, "container %s: liblxc: %s", s->c->args->id, error);
        return err_set(err, ERR_INTERNAL,
                       "container %s: its first process ended before it was ready: killed, or out of memory",
                       s->c->args->id);
}

static int raise_init_error(const struct plan_error *e, struct err *err) {
        return err_set(err, ERR_INVALID, "%s", e->text);
}

/* Once, as soon as there is a namespace to move them to: hooks are to find them there. */
static int move_devices(struct spawning *s, pid_t pid, struct err *err) {
        struct spec *spec = &s->c->config.spec;
        int r;

        if (spec->n_net_devices && !spec->ns[SPEC_NS_NET].create)
                return err_set(err, ERR_INVALID,
                               "linux.netDevices: the container needs a network namespace of its own for them");
        for (size_t i = 0; i < spec->n_net_devices; i++) {
                r = net_device_move(spec->net_devices[i].key, spec->net_devices[i].value, pid, err);
                if (r < 0)
                        return err_wrap(err, "linux.netDevices.%s", spec->net_devices[i].key);
        }
        spec->n_net_devices = 0;
        return 0;
}

static int run_create_hooks(struct spawning *s, pid_t pid, struct err *err) {
        const struct spec_hooks *hooks = &s->c->config.spec.hooks;
        struct hook_state state = oci_hook_state(&s->c->state, "creating");
        char go = PLAN_MSG_GO;
        int r = move_devices(s, pid, err);

        if (r == 0)
                r = hooks_run(hooks, SPEC_HOOK_PRESTART, &state, pid, err);
        if (r == 0)
                r = hooks_run(hooks, SPEC_HOOK_CREATE_RUNTIME, &state, pid, err);
        if (r < 0)
                return r;
        r = sock_send(s->launcher->init[0], &go, 1, NULL, 0);
        return r < 0 ? err_sys(err, -r, "let init go on after hooks") : 0;
}

int creation_take_init(struct creation *c, const struct plan_ready *ready, struct sock_msg *msg, struct err *err) {
        c->state.pid = msg->pid;
        c->state.start_time = proc_start_time(msg->pid);
        c->pidfd = proc_open(c->state.pid, c->state.start_time);
        if (c->pidfd < 0)
                return err_set(err, ERR_INTERNAL, "container %s: its first process ended at once", c->args->id);
        c->state.identity = proc_identity(c->pidfd);
        if (ready->has_terminal && msg->n_fds == 1) {
                c->master = msg->fds[0];
                msg->fds[0] = -1;
        }
        return oom_score_set(&c->config.spec, c->state.pid, c->pidfd, err);
}

static int take_ready(struct spawning *s, const struct plan_ready *ready, struct sock_msg *msg, struct err *err) {
        int r = move_devices(s, msg->pid, err);

        return r < 0 ? r : creation_take_init(s->c, ready, msg, err);
}

/* One message of init's. @ret_ready: it was the last. */
static int take_message(struct spawning *s, bool *ret_ready, struct err *err) {
        union {
                uint8_t type;
                struct plan_ready ready;
                struct plan_error error;
        } m = { 0 };
        _cleanup_(sock_msg_done) struct sock_msg msg = { 0 };
        int r = sock_recv(s->launcher->init[0], &m, sizeof(m) - 1, &msg);

        if (r == -ECONNRESET || (r == 0 && msg.len == 0))
                return explain_end(s, err);
        if (r < 0)
                return err_sys(err, -r, "hear from init");
        switch (m.type) {
        case PLAN_MSG_ERROR:
                return raise_init_error(&m.error, err);
        case PLAN_MSG_HOOKS:
                return run_create_hooks(s, msg.pid, err);
        case PLAN_MSG_READY:
                *ret_ready = true;
                return take_ready(s, &m.ready, &msg, err);
        default:
                return err_set(err, ERR_INTERNAL, "init said '%c' unasked", m.type);
        }
}

/* liblxc's loop goes on in a process of its own, which is told what to wait for; the launcher ends, and init goes to
 * who adopts our children. */
static int take_watcher(struct spawning *s, struct err *err) {
        struct pollfd p = { .fd = s->launcher->watcher[0], .events = POLLIN };
        _cleanup_(sock_msg_done) struct sock_msg msg = { 0 };
        char byte = 0;
        int r;

        if (poll(&p, 1, WATCHER_TIMEOUT_MS) == 0)
                return err_set(err, ERR_INTERNAL,
                               "liblxc does not enter its loop through epoll_wait(): this version of it can't be used");
        r = sock_recv(s->launcher->watcher[0], &byte, 1, &msg);
        if (r < 0 || msg.len == 0)
                return explain_end(s, err);
        s->c->state.watcher_pid = msg.pid;
        s->c->state.watcher_start = proc_start_time(msg.pid);
        r = sock_send(s->launcher->watcher[0], &byte, 1, &s->c->pidfd, 1);
        if (r < 0)
                return err_sys(err, -r, "tell the watcher which process is init");
        launcher_wait(s->launcher);
        return 0;
}

int creation_spawn(struct creation *c, struct launcher *launcher, struct err *err) {
        _cleanup_(spawning_done) struct spawning s = { .c = c,
                                                       .launcher = launcher,
                                                       .plan = PLAN_EMPTY,
                                                       .rootfs = -1,
                                                       .init_fd = -1,
                                                       .null_fd = open("/dev/null", O_RDWR | O_CLOEXEC) };
        bool ready = false;
        int r = s.null_fd < 0 ? err_sys(err, errno, "open /dev/null") : open_rootfs(&s, err);

        if (r == 0)
                r = build_plan(&s, err);
        if (r == 0)
                r = fs_sealed_copy(c->oci->init_path, "lxcri-init", &s.init_fd, err);
        if (r == 0) /* queued before init exists: it finds all of it when it looks */
                r = creation_send_plan(c, &s.plan, s.null_fd, launcher->init[0], err);
        if (r == 0)
                r = order(&s, err);
        while (r == 0 && !ready)
                r = take_message(&s, &ready, err);
        return r < 0 ? r : take_watcher(&s, err);
}
