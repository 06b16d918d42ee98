/* SPDX-License-Identifier: Apache-2.0 */
/* userns - see userns.h. The talk with the child, over a socket pair: it says that it has left (or why not), we write
 * its maps and say so, it says how its work ended, and ends when our end of the socket is gone, however that came. */
#include "net/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/strbuf.h"

/* The kernel takes at most 340 lines, in one write of at most a page. */
enum { MAPS_MAX = 340, MAP_TEXT_MAX = 4095, CHILD_SOCKET = 3, CHILD_PROCESS = 4 };

struct job {
        int process, flags; /* whose namespaces to enter, which; -1: a new user namespace */
        int (*work)(void *arg, struct err *err);
        void *arg;
};

/* --- in the child --------------------------------------------------------------------------------------------------
 */

static int become_root(struct err *err) {
        if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
                return err_sys(err, errno, "become root of the new user namespace");
        return 0;
}

static void say(const struct err *err) {
        (void) !send(CHILD_SOCKET, err, sizeof(*err), MSG_NOSIGNAL);
}

/* None but the two that are needed. */
static void settle_descriptors(int sock, int process) {
        int high = process < 0 ? -1 : fcntl(process, F_DUPFD_CLOEXEC, CHILD_PROCESS + 1);

        (void) dup2(sock, CHILD_SOCKET);
        if (high >= 0)
                (void) dup2(high, CHILD_PROCESS);
        (void) close_range(high < 0 ? CHILD_PROCESS : CHILD_PROCESS + 1, ~0U, 0);
}

/* What the daemon's other threads were at when it was forked is not known: no locks, no heap. */
static _noreturn_ void run_child(int sock, const struct job *job) {
        struct err err = { 0 };
        char byte;

        settle_descriptors(sock, job->process);
        if (job->process >= 0 && setns(CHILD_PROCESS, job->flags) < 0)
                (void) err_sys(&err, errno, "enter a process' namespaces");
        if (job->process < 0 && unshare(CLONE_NEWUSER) < 0)
                (void) err_sys(&err, errno, "make a user namespace");
        say(&err);
        if (err.code || read(CHILD_SOCKET, &byte, 1) != 1)
                _exit(1);
        if (become_root(&err) == 0 && job->work)
                (void) !job->work(job->arg, &err);
        say(&err);
        (void) !read(CHILD_SOCKET, &byte, 1);
        _exit(0);
}

/* --- here ----------------------------------------------------------------------------------------------------------
 */

static int hear(const struct userns_child *child, struct err *err) {
        struct err said;
        ssize_t n;

        do
                n = read(child->socket, &said, sizeof(said));
        while (n < 0 && errno == EINTR);
        if (n != sizeof(said))
                return err_set(err, ERR_INTERNAL, "the process that makes a user namespace has ended too early");
        if (!said.code)
                return 0;
        *err = said;
        if (said.sys_errno == ENOSPC || said.sys_errno == EUSERS)
                return err_set(err, ERR_EXHAUSTED,
                               "make a user namespace: the host allows no more of them (sysctl "
                               "user.max_user_namespaces)");
        if (said.sys_errno == EPERM || said.sys_errno == EINVAL)
                err->code = ERR_PRECONDITION;
        return -(int) err->code;
}

static int write_map(pid_t pid, const char *file, const struct id_map *maps, size_t n, struct err *err) {
        _cleanup_strbuf_ struct strbuf text = STRBUF(MAP_TEXT_MAX);
        _cleanup_(fd_closep) int fd = -1;
        char path[64];

        for (size_t i = 0; i < n; i++)
                strbuf_printf(&text, "%u %u %u\n", maps[i].inside, maps[i].outside, maps[i].length);
        if (n == 0 || n > MAPS_MAX || text.overflow)
                return err_set(err, ERR_INVALID, "a user namespace has 1 to %d id mappings, not %zu", MAPS_MAX, n);
        (void) snprintf(path, sizeof(path), "/proc/%d/%s", (int) pid, file);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return err_sys(err, errno, "open the new user namespace's %s", file);
        if (write(fd, strbuf_str(&text), text.len) == (ssize_t) text.len)
                return 0;
        if (errno == EINVAL || errno == EPERM)
                return err_set(err, ERR_INVALID, "the kernel refuses the id mapping \"%.*s\": %s",
                               (int) (text.len > 64 ? 64 : text.len - 1), strbuf_str(&text), strerrordesc_np(errno));
        return err_sys(err, errno, "write the new user namespace's %s", file);
}

static int bring_up(const struct userns_child *child, const struct id_maps *maps, struct err *err) {
        int r = hear(child, err);

        if (r == 0 && maps)
                r = write_map(child->pid, "uid_map", maps->uids, maps->n_uids, err);
        if (r == 0 && maps)
                r = write_map(child->pid, "gid_map", maps->gids, maps->n_gids, err);
        if (r == 0 && send(child->socket, "m", 1, MSG_NOSIGNAL) != 1)
                r = err_sys(err, errno, "talk to the process that makes a user namespace");
        return r < 0 ? r : hear(child, err);
}

static pid_t fork_child(int sock, const struct job *job) {
        sigset_t all, old;
        pid_t pid;

        /* No handler of ours may run in there. */
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &old);
        pid = fork();
        if (pid == 0)
                run_child(sock, job);
        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
        return pid;
}

static int start(const struct id_maps *maps, const struct job *job, struct userns_child *ret, struct err *err) {
        struct userns_child child = { .socket = -1 };
        int sv[2], r;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
                return err_sys(err, errno, "create a socket pair");
        child.socket = sv[0];
        child.pid = fork_child(sv[1], job);
        r = child.pid < 0 ? err_sys(err, errno, "fork") : 0;
        (void) close(sv[1]);
        if (r == 0)
                r = bring_up(&child, maps, err);
        if (r < 0) {
                userns_end(&child);
                return r;
        }
        *ret = child;
        return 0;
}

void userns_end(struct userns_child *child) {
        child->socket = fd_close(child->socket);
        if (child->pid > 0)
                while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        child->pid = 0;
}

int userns_start(const struct id_maps *maps, int (*work)(void *arg, struct err *err), void *arg,
                 struct userns_child *ret, struct err *err) {
        return start(maps, &(struct job){ .process = -1, .work = work, .arg = arg }, ret, err);
}

int userns_enter(int process, int flags, int (*work)(void *arg, struct err *err), void *arg, struct err *err) {
        const struct job job = { .process = process, .flags = flags, .work = work, .arg = arg };
        struct userns_child child;
        int r = start(NULL, &job, &child, err);

        if (r == 0)
                userns_end(&child);
        return r;
}

int userns_new(const struct id_maps *maps, int *ret_fd, struct err *err) {
        struct userns_child child;
        char path[64];
        int r = userns_start(maps, NULL, NULL, &child, err);

        if (r < 0)
                return r;
        (void) snprintf(path, sizeof(path), "/proc/%d/ns/user", (int) child.pid);
        *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
        r = *ret_fd < 0 ? err_sys(err, errno, "open the new user namespace") : 0;
        userns_end(&child);
        return r;
}
