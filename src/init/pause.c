/* SPDX-License-Identifier: Apache-2.0 */
/* pause - see pause.h. */
#include "init/pause.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

void pause_run(void) {
        sigset_t wanted;

        /* Blocked, they reach even the first process of a PID namespace, which would not get them otherwise. */
        (void) sigemptyset(&wanted);
        (void) sigaddset(&wanted, SIGCHLD);
        (void) sigaddset(&wanted, SIGTERM);
        (void) sigaddset(&wanted, SIGINT);
        (void) sigprocmask(SIG_SETMASK, &wanted, NULL);
        for (;;) {
                int sig;

                while (waitpid(-1, NULL, WNOHANG) > 0)
                        continue;
                sig = sigwaitinfo(&wanted, NULL);
                if (sig == SIGTERM || sig == SIGINT)
                        _exit(0);
        }
}
