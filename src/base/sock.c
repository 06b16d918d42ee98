/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/cleanup.h"

union control {
        struct cmsghdr align;
        char data[CMSG_SPACE(sizeof(int) * SOCK_MAX_FDS) + CMSG_SPACE(sizeof(struct ucred))];
};

int sock_send(int fd, const void *data, size_t len, const int *fds, size_t n_fds) {
        struct iovec iov = { .iov_base = (void *) (uintptr_t) data, .iov_len = len };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
        union control control;
        struct cmsghdr *c;
        ssize_t n;

        if (n_fds > SOCK_MAX_FDS)
                return -EINVAL;
        if (n_fds) {
                msg.msg_control = control.data;
                msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
                memset(control.data, 0, msg.msg_controllen);
                c = CMSG_FIRSTHDR(&msg);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
                memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
        }
        do
                n = sendmsg(fd, &msg, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}

void sock_msg_done(struct sock_msg *m) {
        for (size_t i = 0; i < m->n_fds; i++)
                m->fds[i] = fd_close(m->fds[i]);
        m->n_fds = 0;
}

static int receive(int fd, void *buf, size_t size, int flags, struct sock_msg *ret) {
        struct iovec iov = { .iov_base = buf, .iov_len = size };
        union control control;
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.data, .msg_controllen = sizeof(control.data)
        };
        struct ucred cred;
        ssize_t n;

        ret->n_fds = 0;
        ret->pid = 0;
        do
                n = recvmsg(fd, &msg, flags | MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        /* That the other end went with something unread is told before what it had said, and once. */
        if (n < 0 && errno == ECONNRESET)
                n = recvmsg(fd, &msg, flags | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return -errno;
        ret->len = n;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
                if (c->cmsg_level != SOL_SOCKET)
                        continue;
                if (c->cmsg_type == SCM_RIGHTS) {
                        ret->n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                        memcpy(ret->fds, CMSG_DATA(c), ret->n_fds * sizeof(int));
                } else if (c->cmsg_type == SCM_CREDENTIALS) {
                        memcpy(&cred, CMSG_DATA(c), sizeof(cred));
                        ret->pid = cred.pid;
                }
        }
        if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
                sock_msg_done(ret);
                return -EMSGSIZE;
        }
        return 0;
}

int sock_recv(int fd, void *buf, size_t size, struct sock_msg *ret) {
        return receive(fd, buf, size, 0, ret);
}

int sock_peek(int fd, void *buf, size_t size, struct sock_msg *ret) {
        return receive(fd, buf, size, MSG_PEEK | MSG_DONTWAIT, ret);
}

static int unix_address(const char *path, struct sockaddr_un *sa, struct err *err) {
        *sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
        if (strlen(path) >= sizeof(sa->sun_path))
                return err_set(err, ERR_INVALID, "socket path %s is longer than %zu bytes; choose a shorter one", path,
                               sizeof(sa->sun_path) - 1);
        (void) strncpy(sa->sun_path, path, sizeof(sa->sun_path) - 1);
        return 0;
}

int sock_connect_unix(const char *path, int type, int *ret_fd, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        struct sockaddr_un sa;
        int r;

        r = unix_address(path, &sa, err);
        if (r < 0)
                return r;
        fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return err_sys(err, errno, "create socket");
        if (connect(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0) {
                r = errno;
                if (r != ECONNREFUSED && r != ENOENT)
                        return err_sys(err, r, "connect to %s", path);
                (void) err_sys(err, r, "connect to %s", path);
                err->code = ERR_UNAVAILABLE;
                return -ERR_UNAVAILABLE;
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int sock_listen_unix(const char *path, int type, mode_t mode, int *ret_fd, struct err *err) {
        _cleanup_(fd_closep) int fd = -1, probe = -1;
        struct sockaddr_un sa;
        struct err ignored;
        int r;

        r = unix_address(path, &sa, err);
        if (r < 0)
                return r;
        r = sock_connect_unix(path, type & ~SOCK_NONBLOCK, &probe, &ignored);
        if (r == 0)
                return err_set(err, ERR_EXISTS, "another process listens on %s; stop it or choose another socket",
                               path);
        if (unlink(path) < 0 && errno != ENOENT)
                return err_sys(err, errno, "remove stale socket %s", path);
        fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return err_sys(err, errno, "create socket");
        if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0)
                return err_sys(err, errno, "bind %s", path);
        if (chmod(path, mode) < 0 || listen(fd, 128) < 0)
                return err_sys(err, errno, "listen on %s", path);
        *ret_fd = TAKE_FD(fd);
        return 0;
}
