/* SPDX-License-Identifier: Apache-2.0 */
/* run - create, start, and stay with the container until it ends. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/proc.h"
#include "oci/creation.h"

/* Signals that come before the container is there wait for it. */
static int catch_signals(int *ret_fd, struct err *err) {
        sigset_t set;

        (void) sigfillset(&set);
        if (sigprocmask(SIG_SETMASK, &set, NULL) < 0 || (*ret_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
                return err_sys(err, errno, "catch signals");
        return 0;
}

/* False: nothing more for now. */
static bool forward_signal(int signals, int pidfd) {
        struct signalfd_siginfo info;

        if (read(signals, &info, sizeof(info)) != sizeof(info))
                return false;
        /* Ours: of children, of terminals' sizes, of our own writes, and what Go programs send each other. */
        if (info.ssi_signo != SIGCHLD && info.ssi_signo != SIGWINCH && info.ssi_signo != SIGPIPE &&
            info.ssi_signo != SIGURG)
                (void) proc_signal(pidfd, (int) info.ssi_signo);
        return true;
}

/* 128 + signal; init is our child by now: its own parent has ended, and we adopt. */
static int reap(pid_t pid, int *ret_status, struct err *err) {
        int status;

        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return err_sys(err, errno, "hear how the container ended");
        *ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        return 0;
}

static int wait_for_end(const struct creation *c, int signals, int *ret_status, struct err *err) {
        struct pollfd p[2] = { { .fd = c->pidfd, .events = POLLIN }, { .fd = signals, .events = POLLIN } };

        while (!p[0].revents) {
                if (poll(p, 2, -1) < 0 && errno != EINTR)
                        return err_sys(err, errno, "wait for the container's end");
                while (p[1].revents && forward_signal(signals, c->pidfd))
                        ;
        }
        /* The watcher, which ends with init, may be ours, too. */
        (void) waitpid(c->state.watcher_pid, NULL, 0);
        return reap(c->state.pid, ret_status, err);
}

static int destroy(const struct creation *c, struct err *err) {
        struct oci_dir d = c->dir;

        return oci_destroy(c->oci, &d, &c->state, c->cgroups, err);
}

int oci_run(const struct oci *o, const struct oci_run_args *args, int *ret_status, struct err *err) {
        _cleanup_(creation_done) struct creation c = CREATION_EMPTY;
        _cleanup_(fd_closep) int signals = -1;
        struct err ignored;
        int r = 0;

        *ret_status = 0;
        if (!args->detach) {
                if (!args->no_subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                        r = err_sys(err, errno, "become a subreaper");
                if (r == 0)
                        r = catch_signals(&signals, err);
        }
        if (r == 0)
                r = creation_run(&c, o, &args->create, args->detach, err);
        if (r < 0)
                return r;
        r = oci_start_made(&c, err);
        if (r == 0 && args->detach)
                return 0;
        if (r == 0)
                r = wait_for_end(&c, signals, ret_status, err);
        if (r < 0)
                return destroy(&c, &ignored), r;
        return args->keep ? 0 : destroy(&c, err);
}
