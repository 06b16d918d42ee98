/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/foreground.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/proc.h"
#include "oci/terminal-proxy.h"

enum { POLL_PID, POLL_SIGNALS, POLL_TERMINAL, N_POLLS = POLL_TERMINAL + TERMINAL_PROXY_POLLS };

int foreground_catch_signals(int *ret_fd, struct err *err) {
        sigset_t set;

        (void) sigfillset(&set);
        if (sigprocmask(SIG_SETMASK, &set, NULL) < 0 || (*ret_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
                return err_sys(err, errno, "catch signals");
        return 0;
}

/* False: nothing more for now. */
static bool take_signal(const struct foreground *f, const struct terminal_proxy *proxy) {
        struct signalfd_siginfo info;

        if (read(f->signals, &info, sizeof(info)) != sizeof(info))
                return false;
        switch (info.ssi_signo) {
        case SIGWINCH:
                terminal_proxy_resize(proxy);
                break;
        case SIGCHLD: /* ours; so are those of our own writes, and what Go programs send each other */
        case SIGPIPE:
        case SIGURG:
                break;
        default:
                (void) proc_signal(f->pidfd, (int) info.ssi_signo);
        }
        return true;
}

static int reap(pid_t pid, int *ret_status, struct err *err) {
        int status;

        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return err_sys(err, errno, "hear how the program ended");
        *ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        return 0;
}

static int wait_for_end(const struct foreground *f, struct terminal_proxy *proxy, struct err *err) {
        struct pollfd p[N_POLLS];

        for (;;) {
                p[POLL_PID] = (struct pollfd){ .fd = f->pidfd, .events = POLLIN };
                p[POLL_SIGNALS] = (struct pollfd){ .fd = f->signals, .events = POLLIN };
                terminal_proxy_prepare(proxy, p + POLL_TERMINAL);
                if (poll(p, N_POLLS, -1) < 0) {
                        if (errno != EINTR)
                                return err_sys(err, errno, "wait for the program's end");
                        continue;
                }
                while (p[POLL_SIGNALS].revents && take_signal(f, proxy))
                        ;
                terminal_proxy_move(proxy, p + POLL_TERMINAL);
                if (p[POLL_PID].revents)
                        break;
        }
        terminal_proxy_drain(proxy);
        return 0;
}

int foreground_wait(const struct foreground *f, int *ret_status, struct err *err) {
        struct terminal_proxy proxy;
        int r;

        terminal_proxy_init(&proxy, f->master);
        r = wait_for_end(f, &proxy, err);
        terminal_proxy_done(&proxy);
        return r < 0 || f->pid <= 0 ? r : reap(f->pid, ret_status, err);
}
