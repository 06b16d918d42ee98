/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/launcher.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/sock.h"
#include "oci/lost.h"
#include "runtime/lxc/launch.h"

bool launcher_needs_group(const struct creation *c) {
        return cgroups_mode(c->cgroups) != CGROUP_V1;
}

static int make_channels(struct launcher *l, const struct creation *c, struct err *err) {
        int one = 1;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, l->init) < 0 ||
            socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, l->watcher) < 0 ||
            setsockopt(l->init[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0 ||
            setsockopt(l->watcher[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
                return err_sys(err, errno, "create sockets to the container's first process");
        l->log_fd = memfd_create(lost_mark(&c->dir, c->oci->arena), MFD_CLOEXEC);
        return l->log_fd < 0 ? err_sys(err, errno, "open a log for liblxc") : 0;
}

/* The v2 folder of the container's group; -1: it has none. */
static int open_group(const struct creation *c, int *ret, struct err *err) {
        struct cgroup_door doors[CGROUP_MAX_DOORS];
        int n = 0;

        *ret = -1;
        if (launcher_needs_group(c) && c->config.spec.cgroup_path)
                n = cgroup_open_doors(c->cgroups, c->config.spec.cgroup_path, true, doors, err);
        for (int i = 0; i < n; i++)
                if (doors[i].folder)
                        *ret = doors[i].fd;
                else
                        (void) close(doors[i].fd);
        return n < 0 ? n : 0;
}

/* Returns like fork. */
static pid_t fork_in_cgroup(int folder) {
        struct clone_args args = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t) folder };

        return folder < 0 ? fork() : (pid_t) syscall(SYS_clone3, &args, sizeof(args));
}

int launcher_fork(struct launcher *l, struct creation *c, struct err *err) {
        _cleanup_(fd_closep) int group = -1, home = -1;
        struct launch_args args = { .id = c->args->id };
        int r = make_channels(l, c, err);

        if (r == 0)
                r = open_group(c, &group, err);
        if (r == 0 && group >= 0)
                r = cgroup_open_home(c->cgroups, &home, err);
        if (r < 0)
                return r;
        args.lxc_path = arena_printf(c->oci->arena, LAUNCH_LXC_PATH "%s", c->dir.root);
        args.init_socket = l->init[1];
        args.watcher_socket = l->watcher[1];
        args.log_fd = l->log_fd;
        args.home_fd = home;
        l->pid = fork_in_cgroup(group);
        if (l->pid == 0)
                launch_run(&args);
        if (l->pid < 0) {
                l->pid = 0;
                return err_sys(err, errno, "fork a process for liblxc");
        }
        l->init[1] = fd_close(l->init[1]);
        l->watcher[1] = fd_close(l->watcher[1]);
        return 0;
}

int launcher_order(struct launcher *l, const struct lxc_config *config, int rootfs, int init_fd, struct err *err) {
        int fds[LAUNCH_FD_CONFIG + LXC_CONFIG_MAX_FDS] = { [LAUNCH_FD_ROOTFS] = rootfs, [LAUNCH_FD_INIT] = init_fd };
        int r;

        for (size_t i = 0; i < config->n_fds; i++)
                fds[LAUNCH_FD_CONFIG + i] = config->fds[i];
        r = sock_send(l->watcher[0], config->text.data, config->text.len, fds, LAUNCH_FD_CONFIG + config->n_fds);
        return r < 0 && r != -EPIPE && r != -ECONNRESET ? err_sys(err, -r, "tell liblxc what to start") : 0;
}

void launcher_wait(struct launcher *l) {
        (void) waitpid(l->pid, NULL, 0);
        l->pid = 0;
}

void launcher_done(struct launcher *l) {
        if (l->pid > 0) {
                (void) kill(l->pid, SIGKILL);
                launcher_wait(l);
        }
        for (int i = 0; i < 2; i++) {
                l->init[i] = fd_close(l->init[i]);
                l->watcher[i] = fd_close(l->watcher[i]);
        }
        l->log_fd = fd_close(l->log_fd);
}
