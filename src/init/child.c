/* SPDX-License-Identifier: Apache-2.0 */
#include "init/child.h"

#include <stddef.h>
#include <sys/wait.h>

void child_block(sigset_t *ret, sigset_t *old) {
        (void) sigemptyset(ret);
        (void) sigaddset(ret, SIGCHLD);
        (void) sigaddset(ret, SIGPWR);
        (void) sigaddset(ret, SIGTERM);
        (void) sigaddset(ret, SIGINT);
        (void) sigprocmask(SIG_SETMASK, ret, old);
}

bool child_reap(pid_t program, int *status) {
        int one;

        for (;;) {
                pid_t pid = waitpid(-1, &one, WNOHANG);

                if (pid <= 0)
                        return false;
                if (pid == program) {
                        *status = one;
                        return true;
                }
        }
}
