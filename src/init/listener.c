/* SPDX-License-Identifier: Apache-2.0 */
/* listener - see listener.h. */
#include "init/listener.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "init/fail.h"
#include "init/terminal.h"

enum {
        SET_MODE_FILTER = 1,
        FLAG_TSYNC = 1,
        FLAG_NEW_LISTENER = 1 << 3,
        NOT_YET = -1,
        FAILED = -2,
        DONE = 1,
};

static struct {
        int sock;
        atomic_int fd;   /* NOT_YET, FAILED or the filter's */
        atomic_int done; /* 0, DONE or -errno */
} handing;

static int hand_over(int fd) {
        const char message = PLAN_MSG_SECCOMP;
        char answer = 0;
        int r = terminal_send(handing.sock, &message, 1, fd);
        ssize_t n;

        if (r < 0)
                return r;
        do
                n = recv(handing.sock, &answer, 1, 0);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        return n == 1 && answer == PLAN_MSG_GO ? DONE : -ECONNABORTED;
}

static void *wait_and_hand_over(void *unused) {
        const struct timespec little = { .tv_nsec = 20 * 1000 };
        int fd;

        while ((fd = atomic_load(&handing.fd)) == NOT_YET)
                (void) nanosleep(&little, NULL);
        atomic_store(&handing.done, fd == FAILED ? DONE : hand_over(fd));
        return NULL;
}

/* No system call: it could be one that waits for an answer. */
static int wait_until_done(void) {
        int done;

        while ((done = atomic_load(&handing.done)) == 0)
                ;
        return done < 0 ? done : 0;
}

int listener_load(const void *program, uint64_t flags, int sock, struct plan_error *e) {
        pthread_attr_t attr;
        pthread_t thread;
        int r, saved;
        long fd;

        if (sock < 0)
                return fail_set(e, 0, "the seccomp filter's descriptor has nowhere to go", NULL);
        handing.sock = sock;
        atomic_store(&handing.fd, NOT_YET);
        atomic_store(&handing.done, 0);
        r = pthread_attr_init(&attr);
        if (r == 0)
                r = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        if (r == 0)
                r = pthread_create(&thread, &attr, wait_and_hand_over, NULL);
        if (r != 0)
                return fail_set(e, r, "start a thread for the seccomp filter's descriptor", NULL);
        /* Synchronizing would bring the thread under the filter; there is no other. */
        fd = syscall(SYS_seccomp, SET_MODE_FILTER, (flags & ~(uint64_t) FLAG_TSYNC) | FLAG_NEW_LISTENER, program);
        saved = errno;
        atomic_store(&handing.fd, fd < 0 ? FAILED : (int) fd);
        r = wait_until_done();
        if (fd < 0)
                return fail_set(e, saved, "load the seccomp filter", NULL);
        return r < 0 ? fail_set(e, -r, "hand out the seccomp filter's descriptor", NULL) : 0;
}
