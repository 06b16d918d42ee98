/* SPDX-License-Identifier: Apache-2.0 */
/* terminal - see terminal.h. The slave is got from the master (TIOCGPTPEER), never by its name: /dev/pts/N may be
 * anything by the time it is opened (CVE-2025-52565). */
#include "init/terminal.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include "init/fail.h"
#include "init/path.h"
#include "init/sys.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER 0x5441
#endif

enum { PTMX_MAJOR = 5, PTMX_MINOR = 2 };

static int open_master(int root_fd, struct plan_error *e) {
        int fd = path_open(root_fd, "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK), flags;
        struct statfs fs;
        struct stat st;

        if (fd < 0)
                return fail_set(e, -fd, "open /dev/pts/ptmx", NULL);
        if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0 || (long) fs.f_type != SYS_DEVPTS_MAGIC ||
            !S_ISCHR(st.st_mode) || st.st_rdev != makedev(PTMX_MAJOR, PTMX_MINOR)) {
                (void) close(fd);
                return fail_set(e, 0, "/dev/pts/ptmx is not a pseudo terminal multiplexer", NULL);
        }
        flags = fcntl(fd, F_GETFL);
        if (flags >= 0)
                (void) fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
        return fd;
}

static int bind_console(int root_fd, int slave, struct plan_error *e) {
        int target = path_ensure(root_fd, "/dev/console", PATH_FILE, 0600, NULL), tree, r;

        if (target < 0)
                return fail_set(e, -target, "make /dev/console", NULL);
        tree = sys_open_tree(slave, "", SYS_OPEN_TREE_CLONE | SYS_OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        r = tree < 0 ? -errno : sys_move_mount(tree, target) < 0 ? -errno : 0;
        if (tree >= 0)
                (void) close(tree);
        (void) close(target);
        return r < 0 ? fail_set(e, -r, "mount the terminal on /dev/console", NULL) : 0;
}

static int take_over(int slave, struct plan_error *e) {
        (void) setsid(); /* fails when this is a session's leader already: as good */
        if (ioctl(slave, TIOCSCTTY, 0) < 0)
                return fail_set(e, errno, "set the controlling terminal", NULL);
        for (int fd = 0; fd < 3; fd++)
                if (dup2(slave, fd) < 0)
                        return fail_set(e, errno, "attach the terminal", NULL);
        return 0;
}

int terminal_open(int root_fd, uint16_t rows, uint16_t columns, bool console, struct plan_error *e) {
        struct winsize size = { .ws_row = rows, .ws_col = columns };
        int master = open_master(root_fd, e), slave, unlock = 0, r = 0;

        if (master < 0)
                return -1;
        slave = ioctl(master, TIOCSPTLCK, &unlock) < 0 ? -1 : ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (slave < 0)
                r = fail_set(e, errno, "open the terminal", NULL);
        else {
                if (rows && columns)
                        (void) ioctl(master, TIOCSWINSZ, &size);
                if (console)
                        r = bind_console(root_fd, slave, e);
                if (r == 0)
                        r = take_over(slave, e);
                (void) close(slave);
        }
        if (r == 0)
                return master;
        (void) close(master);
        return -1;
}

int terminal_send(int socket_fd, const void *data, size_t len, int fd) {
        union {
                struct cmsghdr align;
                char data[CMSG_SPACE(sizeof(int))];
        } control = { .data = { 0 } };
        struct iovec iov = { .iov_base = (void *) (uintptr_t) data, .iov_len = len };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
        struct cmsghdr *c;
        ssize_t n;

        if (fd >= 0) {
                msg.msg_control = control.data;
                msg.msg_controllen = sizeof(control.data);
                c = CMSG_FIRSTHDR(&msg);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(c), &fd, sizeof(fd));
        }
        do
                n = sendmsg(socket_fd, &msg, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}
