/* SPDX-License-Identifier: Apache-2.0 */
/* ct - see ct.h. */
#include "init/ct.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Monitors are no children of ours, so nothing tells when they are gone. */
static const struct timespec look_again = { .tv_nsec = 10 * 1000 * 1000 };

static void reap(void) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
                continue;
}

/* Is anybody but us in the PID namespace? Only ESRCH says no: monitors may not be signalled by us (EPERM), and a
 * security module may answer EACCES. */
static bool is_alone(void) {
        return kill(-1, 0) < 0 && errno == ESRCH;
}

void ct_run(void) {
        bool halting = false;
        sigset_t wanted;
        int sig;

        (void) prctl(PR_SET_NAME, "lxcri-pod", 0, 0, 0);
        /* Blocked, they reach even the first process of a PID namespace, which would not get them otherwise. Proxmox
         * halts with SIGPWR; the others are for those who try by hand. */
        (void) sigemptyset(&wanted);
        (void) sigaddset(&wanted, SIGCHLD);
        (void) sigaddset(&wanted, SIGPWR);
        (void) sigaddset(&wanted, SIGTERM);
        (void) sigaddset(&wanted, SIGINT);
        (void) sigprocmask(SIG_SETMASK, &wanted, NULL);
        for (;;) {
                reap();
                if (halting && is_alone())
                        _exit(0);
                sig = halting ? sigtimedwait(&wanted, NULL, &look_again) : sigwaitinfo(&wanted, NULL);
                if (sig == SIGPWR || sig == SIGTERM || sig == SIGINT) {
                        (void) kill(-1, SIGTERM);
                        halting = true;
                }
        }
}
