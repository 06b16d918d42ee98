/* SPDX-License-Identifier: Apache-2.0 */
/* start - see start.h. */
#include "init/start.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "init/fail.h"

static const int ending[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
enum { N_ENDING = sizeof(ending) / sizeof(ending[0]), SIGNAL_EXIT = 128 };

static void on_signal(int sig) {
        _exit(SIGNAL_EXIT + sig);
}

/* The first process of a PID namespace gets only what it has a handler for. */
static void set_handlers(void (*handler)(int)) {
        struct sigaction sa = { .sa_handler = handler };

        for (int i = 0; i < N_ENDING; i++)
                (void) sigaction(ending[i], &sa, NULL);
}

static bool is_allowed(int sock, uint32_t uid) {
        struct ucred peer = { 0 };
        socklen_t len = sizeof(peer);

        return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == uid;
}

/* START with its one descriptor; -1: nothing of use. */
static int receive_start(int sock) {
        union {
                struct cmsghdr align;
                char data[CMSG_SPACE(sizeof(int) * 8)];
        } control = { .data = { 0 } };
        char type = 0;
        struct iovec iov = { .iov_base = &type, .iov_len = 1 };
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.data, .msg_controllen = sizeof(control.data)
        };
        int fds[8], n_fds = 0;
        ssize_t n;

        do
                n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        for (struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                n_fds = (int) ((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
                memcpy(fds, CMSG_DATA(c), (size_t) n_fds * sizeof(int));
        }
        if (n == 1 && type == PLAN_MSG_START && n_fds == 1 && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
                return fds[0];
        for (int i = 0; i < n_fds; i++)
                (void) close(fds[i]);
        return -1;
}

int start_wait(int listen_fd, uint32_t uid, struct start *ret, struct plan_error *e) {
        const struct timespec little = { .tv_nsec = 10 * 1000 * 1000 };
        int sock, status_fd;

        set_handlers(on_signal);
        for (;;) {
                sock = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
                if (sock < 0 && (errno == EBADF || errno == EINVAL || errno == ENOTSOCK || errno == EOPNOTSUPP))
                        return fail_set(e, errno, "wait for start", NULL);
                if (sock < 0) { /* no memory, no descriptors: those of the host, which may come back */
                        (void) nanosleep(&little, NULL);
                        continue;
                }
                status_fd = is_allowed(sock, uid) ? receive_start(sock) : -1;
                if (status_fd >= 0)
                        break;
                (void) close(sock);
        }
        set_handlers(SIG_DFL);
        (void) close(listen_fd);
        *ret = (struct start){ .status_fd = status_fd, .sock = sock };
        return 0;
}
