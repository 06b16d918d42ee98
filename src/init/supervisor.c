/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor - see supervisor.h. */
#include "init/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "init/child.h"

enum { MAKER_TIMEOUT_MS = 60000, EXIT_ALONE = 125 };

static int listen_here(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/" SUPERVISOR_SOCKET };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        if (fd < 0 || bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, 1) < 0)
                return -1;
        return fd;
}

/* Whoever made the container may have been killed: then nobody comes. */
static int wait_for_maker(int listen_fd) {
        struct pollfd p = { .fd = listen_fd, .events = POLLIN };

        return poll(&p, 1, MAKER_TIMEOUT_MS) == 1 ? accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC) : -1;
}

static volatile uint32_t *take_exit_file(int sock) {
        union {
                struct cmsghdr align;
                char data[CMSG_SPACE(sizeof(int))];
        } control = { .data = { 0 } };
        char type = 0;
        struct iovec iov = { .iov_base = &type, .iov_len = 1 };
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.data, .msg_controllen = sizeof(control.data)
        };
        struct cmsghdr *c;
        void *map;
        int fd;

        if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1 || type != SUPERVISOR_MSG_EXIT || !(c = CMSG_FIRSTHDR(&msg)) ||
            c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
                return NULL;
        memcpy(&fd, CMSG_DATA(c), sizeof(fd));
        map = mmap(NULL, sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        (void) close(fd);
        return map == MAP_FAILED ? NULL : map;
}

static void remove_traces(void) {
        (void) unlink("/" SUPERVISOR_SOCKET);
        (void) unlink("/" SUPERVISOR_PROGRAM);
        (void) rmdir("/" SUPERVISOR_FOLDER);
}

__attribute__((noreturn)) static void watch(pid_t program, const sigset_t *signals, volatile uint32_t *exit_file) {
        int status = 0, sig;

        (void) prctl(PR_SET_NAME, "lxcri-ct", 0, 0, 0);
        while (!child_reap(program, &status)) {
                sig = sigwaitinfo(signals, NULL);
                if (sig == SIGPWR || sig == SIGTERM || sig == SIGINT)
                        (void) kill(program, SIGTERM);
        }
        (void) kill(-1, SIGKILL);
        *exit_file = SUPERVISOR_ENDED | ((uint32_t) status & (SUPERVISOR_ENDED - 1));
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int supervisor_run(void) {
        int listen_fd = listen_here(), sock = listen_fd < 0 ? -1 : wait_for_maker(listen_fd);
        volatile uint32_t *exit_file = sock < 0 ? NULL : take_exit_file(sock);
        sigset_t signals;
        pid_t program;

        if (!exit_file)
                _exit(EXIT_ALONE);
        (void) close(listen_fd);
        remove_traces();
        child_block(&signals, NULL);
        program = fork();
        if (program < 0)
                _exit(EXIT_ALONE);
        if (program > 0) {
                (void) close(sock);
                watch(program, &signals, exit_file);
        }
        (void) munmap((void *) (uintptr_t) exit_file, sizeof(uint32_t));
        return sock;
}
