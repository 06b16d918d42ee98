/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread.h"

#include <signal.h>

/* Born with all blocked: there is no moment at which it could take one. */
int thread_start(size_t stack_bytes, void *(*fn)(void *arg), void *arg, pthread_t *ret) {
        pthread_attr_t attr;
        sigset_t all, old;
        int r;

        (void) pthread_attr_init(&attr);
        if (stack_bytes > 0)
                (void) pthread_attr_setstacksize(&attr, stack_bytes);
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &old);
        r = pthread_create(ret, &attr, fn, arg);
        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
        (void) pthread_attr_destroy(&attr);
        return r;
}
