/* SPDX-License-Identifier: Apache-2.0 */
/* spawn - a container's channels, its plan on init's socket, and its monitor. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "keeper/container.h"
#include "keeper/descriptors.h"
#include "keeper/keeper.h"
#include "runtime/crun/monitor.h"
#include "runtime/lxc/files.h"
#include "runtime/lxc/monitor.h"

enum { SPAWN_FDS_FIXED = 2 };  /* plan, rootfs; of crun: mount namespace, rootfs */
enum { SPAWN_FDS_CRUN = 1 };   /* then, of crun: network namespace */
enum { SPAWN_FDS_NESTED = 1 }; /* then, if asked for: the PID namespace to be born in */
enum { SPAWN_FDS_CGROUP = 2 }; /* at the end: the v2 group's folder, the cgroup.procs to go back to */

/* Where a monitor is born; -1: as the keeper itself. */
struct birthplace {
        int pid_ns;
        int cgroup, home; /* the group, and the cgroup.procs to which it goes back */
};

struct spawn_fds {
        int socket_init, stdin_r, out_w, err_w, exec_w; /* init's ends */
};

static void spawn_fds_done(struct spawn_fds *f) {
        (void) fd_close(f->socket_init);
        (void) fd_close(f->stdin_r);
        (void) fd_close(f->out_w);
        (void) fd_close(f->err_w);
        (void) fd_close(f->exec_w);
}

static int make_pipe(int *ret_read, int *ret_write) {
        int p[2];

        if (pipe2(p, O_CLOEXEC) < 0)
                return -errno;
        *ret_read = p[0];
        *ret_write = p[1];
        return 0;
}

/* A user namespace's root could not change the owner of what it has no number for; then /dev/stdout could not be opened
 * again by the container's user. */
static int give_pipes(const struct keeper_request *req, const struct spawn_fds *f) {
        const int fds[] = { f->stdin_r, f->out_w, f->err_w };
        struct stat st;

        if (!(req->flags & KEEPER_SPAWN_USER_NS))
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                if (fstat(fds[i], &st) < 0 ||
                    (S_ISFIFO(st.st_mode) && fchown(fds[i], req->root_uid, req->root_gid) < 0))
                        return -errno;
        return 0;
}

static int make_channels(struct container *c, const struct keeper_request *req, struct spawn_fds *f, int *out_r,
                         int *err_r, struct err *err) {
        int sv[2], one = 1, r = 0;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
                return err_sys(err, errno, "create init's socket");
        c->init_socket = sv[0];
        f->socket_init = sv[1];
        if (setsockopt(sv[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
                return err_sys(err, errno, "ask for credentials on init's socket");
        r = make_pipe(&c->exec_fd, &f->exec_w);
        if (r == 0 && c->flags & KEEPER_SPAWN_TERMINAL) {
                f->stdin_r = open("/dev/null", O_RDWR | O_CLOEXEC);
                f->out_w = fcntl(f->stdin_r, F_DUPFD_CLOEXEC, 3);
                f->err_w = fcntl(f->stdin_r, F_DUPFD_CLOEXEC, 3);
                r = f->err_w < 0 ? -errno : 0;
                return r < 0 ? err_sys(err, -r, "open /dev/null") : 0;
        }
        if (r == 0)
                r = make_pipe(out_r, &f->out_w);
        if (r == 0)
                r = make_pipe(err_r, &f->err_w);
        if (r == 0 && c->flags & KEEPER_SPAWN_STDIN)
                r = make_pipe(&f->stdin_r, &c->stdin_fd);
        else if (r == 0)
                r = (f->stdin_r = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0 ? -errno : 0;
        if (r == 0)
                r = give_pipes(req, f);
        return r < 0 ? err_sys(err, -r, "create pipes of a container") : 0;
}

static int send_plan(const struct container *c, const struct spawn_fds *f, const int *fds, size_t n_fds,
                     struct err *err) {
        int all[SOCK_MAX_FDS] = { fds[0], f->stdin_r, f->out_w, f->err_w, f->exec_w };
        size_t n = n_fds - SPAWN_FDS_FIXED;
        char type = PLAN_MSG_PLAN;
        int r;

        if (PLAN_FD_FIRST + n > SOCK_MAX_FDS)
                return err_set(err, ERR_EXHAUSTED, "a container can have at most %d mounts from outside",
                               SOCK_MAX_FDS - PLAN_FD_FIRST);
        memcpy(all + PLAN_FD_FIRST, fds + SPAWN_FDS_FIXED, n * sizeof(int));
        r = sock_send(c->init_socket, &type, 1, all, PLAN_FD_FIRST + n);
        return r < 0 ? err_sys(err, -r, "hand init its plan") : 0;
}

/* What liblxc is told, and the descriptors that it names. */
struct lxc_config {
        char text[KEEPER_CONFIG_MAX + 1024];
        int fds[MONITOR_CONFIG_FDS_MAX];
        int n_fds;
};

/* "@3@" -> "/proc/self/fd/17". */
static int expand_config(const struct keeper_request *req, const int *fds, size_t n_fds, struct lxc_config *ret,
                         struct err *err) {
        size_t at = 0, size = sizeof(ret->text);
        char *out = ret->text, *end;
        unsigned long n;

        ret->n_fds = 0;
        for (const char *p = req->config; *p && at + 32 < size;) {
                if (*p != '@') {
                        out[at++] = *p++;
                        continue;
                }
                n = strtoul(p + 1, &end, 10);
                if (*end != '@' || n + SPAWN_FDS_FIXED >= n_fds || ret->n_fds == MONITOR_CONFIG_FDS_MAX)
                        return err_set(err, ERR_INTERNAL,
                                       "the configuration for liblxc names a descriptor that was not sent with it");
                ret->fds[ret->n_fds++] = fds[SPAWN_FDS_FIXED + n];
                at += (size_t) snprintf(out + at, size - at, "/proc/self/fd/%d", fds[SPAWN_FDS_FIXED + n]);
                p = end + 1;
        }
        out[at] = '\0';
        return 0;
}

/* Returns like fork. */
static pid_t fork_in_cgroup(int folder) {
        struct clone_args args = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t) folder };

        return folder < 0 ? fork() : (pid_t) syscall(SYS_clone3, &args, sizeof(args));
}

/* Returns like fork. The child is ours to reap all the same, but it is killed when the namespace's first process ends.
 */
static pid_t fork_nested(const struct birthplace *place) {
        _cleanup_(fd_closep) int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
        int saved_errno;
        pid_t pid;

        if (own < 0 || setns(place->pid_ns, CLONE_NEWPID) < 0)
                return -1;
        pid = fork_in_cgroup(place->cgroup);
        if (pid == 0)
                return 0;
        saved_errno = errno;
        /* Every later child would be born there; the next keeper's are not. */
        if (setns(own, CLONE_NEWPID) < 0) {
                log_error("cannot leave a pod's PID namespace", "error", strerrordesc_np(errno), NULL);
                _exit(1);
        }
        errno = saved_errno;
        return pid;
}

static _noreturn_ void run_crun_monitor(const struct container *c, const char *program, const int *fds, size_t n_fds,
                                        int home, const struct spawn_fds *f) {
        const size_t first = SPAWN_FDS_FIXED + SPAWN_FDS_CRUN;
        struct crun_monitor_args args = {
                .id = c->id,
                .program = program,
                .state_dir = c->keeper->state_dir,
                .rootfs_dir = c->keeper->rootfs_dir,
                .mount_ns = fds[0],
                .rootfs_fd = fds[1],
                .net_ns = fds[SPAWN_FDS_FIXED],
                .mounts = fds + first,
                .n_mounts = n_fds - first,
                .dirfd = c->dirfd,
                .init_socket = f->socket_init,
                .stdin_fd = f->stdin_r,
                .stdout_fd = f->out_w,
                .stderr_fd = f->err_w,
                .terminal = c->flags & KEEPER_SPAWN_TERMINAL,
                .user_ns = c->flags & KEEPER_SPAWN_USER_NS,
                .exec_fd = f->exec_w,
                .home_fd = home,
        };

        memcpy(args.keep, c->monitor_fds, sizeof(args.keep));
        crun_monitor_run(&args);
}

static int fork_monitor(struct container *c, const struct lxc_config *config, const int *fds, size_t n_fds,
                        const struct birthplace *place, const struct spawn_fds *f, int out_r, int err_r,
                        struct err *err) {
        struct monitor_args args = {
                .id = c->id,
                .lxc_path = c->keeper->lxc_path,
                .rootfs_dir = c->keeper->rootfs_dir,
                .config = config->text,
                .config_fds = config->fds,
                .n_config_fds = config->n_fds,
                .dirfd = c->dirfd,
                .rootfs_fd = fds[1],
                .init_fd = c->keeper->init_fd,
                .init_socket = f->socket_init,
                .home_fd = place->home,
                .nested = place->pid_ns >= 0,
        };

        c->monitor_fds[CONTAINER_FD_SOCKET] = c->init_socket;
        c->monitor_fds[CONTAINER_FD_EXEC] = c->exec_fd;
        c->monitor_fds[CONTAINER_FD_STDIN] = c->flags & KEEPER_SPAWN_STDIN_ONCE ? -1 : c->stdin_fd;
        c->monitor_fds[CONTAINER_FD_STDOUT] = out_r;
        c->monitor_fds[CONTAINER_FD_STDERR] = err_r;
        memcpy(args.keep, c->monitor_fds, sizeof(args.keep));

        c->monitor_pid = place->pid_ns < 0 ? fork_in_cgroup(place->cgroup) : fork_nested(place);
        if (c->monitor_pid < 0 && errno == EAGAIN)
                return err_sys(err, errno,
                               "fork a monitor: a limit of processes, of the pod's cgroup, of one above it or of the "
                               "host, is reached");
        /* What the kernel says when the namespace's first process has ended. */
        if (c->monitor_pid < 0 && errno == ENOMEM && place->pid_ns >= 0)
                return err_set(err, ERR_PRECONDITION, "the pod has ended, or there is no memory to fork a monitor");
        if (c->monitor_pid < 0)
                return err_sys(err, errno, "fork a monitor%s%s", place->cgroup < 0 ? "" : " in the container's cgroup",
                               place->pid_ns < 0 ? "" : " in the pod's PID namespace");
        if (c->monitor_pid == 0 && c->flags & KEEPER_SPAWN_CRUN)
                run_crun_monitor(c, config->text, fds, n_fds, place->home, f);
        if (c->monitor_pid == 0)
                monitor_run(&args);
        c->monitor_start = proc_start_time(c->monitor_pid);
        c->monitor_fd = fd_stays(proc_open(c->monitor_pid, c->monitor_start));
        c->init_socket = fd_stays(c->init_socket);
        c->exec_fd = fd_stays(c->exec_fd);
        c->stdin_fd = fd_stays(c->stdin_fd);
        return 0;
}

static int open_container_dir(struct container *c, struct err *err) {
        if (mkdirat(c->keeper->containers_fd, c->id, 0700) < 0) {
                if (errno == EEXIST)
                        return err_set(err, ERR_EXISTS, "container %s exists already", c->id);
                return err_sys(err, errno, "create the state folder of container %s", c->id);
        }
        c->dirfd = fd_stays(openat(c->keeper->containers_fd, c->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        return c->dirfd < 0 ? err_sys(err, errno, "open the state folder of container %s", c->id) : 0;
}

static int spawn(struct container *c, const struct keeper_request *req, const int *fds, size_t n_fds, struct err *err) {
        _cleanup_(spawn_fds_done) struct spawn_fds f = { -1, -1, -1, -1, -1 };
        _cleanup_(fd_closep) int out_r = -1, err_r = -1;
        struct birthplace place = { -1, -1, -1 };
        struct lxc_config config;
        int r;

        if (req->flags & KEEPER_SPAWN_CGROUP) {
                n_fds -= SPAWN_FDS_CGROUP;
                place.cgroup = fds[n_fds];
                place.home = fds[n_fds + 1];
        }
        if (req->flags & KEEPER_SPAWN_NESTED) {
                n_fds -= SPAWN_FDS_NESTED;
                place.pid_ns = fds[n_fds];
        }
        r = expand_config(req, fds, n_fds, &config, err);
        if (r < 0)
                return r;
        r = make_channels(c, req, &f, &out_r, &err_r, err);
        if (r < 0)
                return r;
        /* The plan waits in the socket before anybody could read it. It is queued on our end, read on init's. */
        r = req->flags & KEEPER_SPAWN_CRUN ? 0 : send_plan(c, &f, fds, n_fds, err);
        if (r < 0)
                return r;
        r = fork_monitor(c, &config, fds, n_fds, &place, &f, out_r, err_r, err);
        if (r < 0)
                return r;
        r = container_write_state(c, err);
        if (r < 0)
                return r;
        if (out_r >= 0)
                r = container_open_stream(c, &c->out, TAKE_FD(out_r), false);
        if (r == 0 && err_r >= 0)
                r = container_open_stream(c, &c->err, TAKE_FD(err_r), false);
        if (r == 0)
                r = container_watch_init(c);
        return r < 0 ? err_sys(err, -r, "watch a new container") : 0;
}

int container_spawn(struct keeper *k, struct connection *from, const struct keeper_request *req, const int *fds,
                    size_t n_fds, struct err *err) {
        size_t least = SPAWN_FDS_FIXED + (req->flags & KEEPER_SPAWN_CGROUP ? SPAWN_FDS_CGROUP : 0u) +
                       (req->flags & KEEPER_SPAWN_NESTED ? SPAWN_FDS_NESTED : 0u) +
                       (req->flags & KEEPER_SPAWN_CRUN ? SPAWN_FDS_CRUN : 0u);
        struct container *c;
        int r;

        if (n_fds < least || !req->id[0] || strchr(req->id, '/') || req->id[0] == '.')
                return err_set(err, ERR_INTERNAL, "malformed request to spawn a container");
        if (map_get(k->containers, req->id))
                return err_set(err, ERR_EXISTS, "container %s exists already", req->id);
        c = container_new(k, req->id);
        c->flags = req->flags;
        r = open_container_dir(c, err);
        if (r == 0)
                r = spawn(c, req, fds, n_fds, err);
        if (r < 0) {
                if (c->monitor_pid > 0)
                        (void) kill(c->monitor_pid, SIGKILL);
                container_free(c);
                return r;
        }
        c->waiter = from;
        c->waiter_seq = req->seq;
        (void) map_set(k->containers, c->id, c);
        return 0;
}
