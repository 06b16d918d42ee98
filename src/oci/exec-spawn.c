/* SPDX-License-Identifier: Apache-2.0 */
/* exec-spawn - the helper that enters the container: proxmox-lxcri-init, from a sealed copy, so that there is nothing
 * of the host's in there that could be reached by /proc/PID/exe, even before the program itself is there. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "init/enter.h"
#include "oci/exec.h"
#include "runtime/lxc/plan.h"

enum { STACK_SIZE = 64 * 1024, MAX_ARGV = 16 + PLAN_MAX_FDS, MAX_MAP = 64 * 1024 };

struct spawning {
        struct exec *x;
        struct plan plan;
        int program, null_fd, status_w, socket, report_r, report_w;
        unsigned flags;
        uint32_t root_uid, root_gid;
        char numbers[MAX_ARGV][12];
        char *argv[MAX_ARGV];
        int argc;
};

static void spawning_done(struct spawning *s) {
        plan_done(&s->plan);
        s->program = fd_close(s->program);
        s->null_fd = fd_close(s->null_fd);
        s->status_w = fd_close(s->status_w);
        s->socket = fd_close(s->socket);
        s->report_r = fd_close(s->report_r);
        s->report_w = fd_close(s->report_w);
}

/* --- the container's namespaces
 * -------------------------------------------------------------------------------------------- */

static bool has_other_ns(pid_t pid, const char *name) {
        char ours[64], theirs[64];
        struct stat a, b;

        (void) snprintf(ours, sizeof(ours), "/proc/self/ns/%s", name);
        (void) snprintf(theirs, sizeof(theirs), "/proc/%d/ns/%s", (int) pid, name);
        return stat(ours, &a) == 0 && stat(theirs, &b) == 0 && (a.st_ino != b.st_ino || a.st_dev != b.st_dev);
}

/* Who root in there is out here. */
static int read_root(pid_t pid, const char *file, uint32_t *ret, struct err *err) {
        _cleanup_(freep) char *text = NULL;
        unsigned long inside, outside;
        char path[64], *p;
        int r;

        (void) snprintf(path, sizeof(path), "/proc/%d/%s", (int) pid, file);
        r = fs_read_file(AT_FDCWD, path, MAX_MAP, &text, NULL, err);
        if (r < 0)
                return r;
        for (char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
                inside = strtoul(line, &p, 10);
                outside = strtoul(p, &p, 10);
                if (inside == 0) {
                        *ret = (uint32_t) outside;
                        return 0;
                }
        }
        return err_set(err, ERR_INVALID, "the container's user namespace has no root: %s has no line for 0", file);
}

static int look_at_namespaces(struct spawning *s, struct err *err) {
        pid_t pid = s->x->state.pid;
        int r;

        if (has_other_ns(pid, "time"))
                s->flags |= ENTER_TIME_NS;
        if (!has_other_ns(pid, "user"))
                return 0;
        s->flags |= ENTER_USER_NS;
        r = read_root(pid, "uid_map", &s->root_uid, err);
        return r < 0 ? r : read_root(pid, "gid_map", &s->root_gid, err);
}

/* --- the helper
 * ------------------------------------------------------------------------------------------------------------ */

static int make_channels(struct spawning *s, struct err *err) {
        struct exec *x = s->x;
        int p[2], sv[2];

        if (pipe2(p, O_CLOEXEC) < 0)
                return err_sys(err, errno, "create an exec status pipe");
        x->status_r = p[0];
        s->status_w = p[1];
        if (pipe2(p, O_CLOEXEC) < 0)
                return err_sys(err, errno, "create a pipe");
        s->report_r = p[0];
        s->report_w = p[1];
        s->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (s->null_fd < 0)
                return err_sys(err, errno, "open /dev/null");
        if (!x->process.terminal && !x->process.seccomp_notify)
                return 0;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
                return err_sys(err, errno, "create a socket for the terminal");
        x->socket = sv[0];
        s->socket = sv[1];
        return 0;
}

static void put_argument(struct spawning *s, int64_t n) {
        char *text = s->numbers[s->argc];

        (void) snprintf(text, sizeof(s->numbers[0]), "%d", (int) n);
        s->argv[s->argc++] = text;
}

/* Descriptors, for the helper: it shares them with us until its exec, and has its own table. */
static void put_fd(struct spawning *s, int fd) {
        put_argument(s, fd);
}

static void build_argv(struct spawning *s) {
        static char name[] = "init", verb[] = "exec";

        s->argv[s->argc++] = name;
        s->argv[s->argc++] = verb;
        put_fd(s, s->report_w);
        put_argument(s, s->flags);
        put_argument(s, s->root_uid);
        put_argument(s, s->root_gid);
        put_fd(s, s->plan.fd);
        put_fd(s, s->x->init_pidfd);
        put_fd(s, s->status_w);
        put_fd(s, s->socket);
        for (int i = 0; i < 3; i++)
                put_fd(s, s->x->process.terminal || fcntl(i, F_GETFD) < 0 ? s->null_fd : i);
        for (size_t i = 0; i < s->plan.n_fds; i++)
                put_fd(s, s->plan.fds[i]);
        s->argv[s->argc] = NULL;
}

static void keep(int fd) {
        if (fd >= 0)
                (void) fcntl(fd, F_SETFD, 0);
}

/* Shares our memory while we wait (as vfork), but not the descriptors. */
static int helper(void *arg) {
        struct spawning *s = arg;
        char *const env[] = { NULL };

        keep(s->report_w);
        keep(s->plan.fd);
        keep(s->x->init_pidfd);
        keep(s->status_w);
        keep(s->socket);
        keep(s->null_fd);
        for (size_t i = 0; i < s->plan.n_fds; i++)
                keep(s->plan.fds[i]);
        (void) syscall(SYS_execveat, s->program, "", s->argv, env, AT_EMPTY_PATH);
        return 127;
}

static int read_report(struct spawning *s, struct err *err) {
        struct enter_report report;
        ssize_t n;

        do
                n = read(s->report_r, &report, sizeof(report));
        while (n < 0 && errno == EINTR);
        if (n != (ssize_t) sizeof(report))
                return err_set(err, ERR_INTERNAL,
                               "the helper that enters container %s ended at once: killed, or out of memory",
                               s->x->args->id);
        if (report.pid < 0)
                return err_set(err, ERR_INTERNAL, "%s", report.error.text);
        s->x->pid = report.pid;
        s->x->pidfd = (int) syscall(SYS_pidfd_open, report.pid, 0);
        return s->x->pidfd < 0 ? err_sys(err, errno, "take hold of the process") : 0;
}

static int run_helper(struct spawning *s, struct err *err) {
        static char stack[STACK_SIZE] __attribute__((aligned(16)));
        pid_t pid;
        int r;

        build_argv(s);
        pid = clone(helper, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, s);
        if (pid < 0)
                return err_sys(err, errno, "fork an exec helper");
        s->report_w = fd_close(s->report_w);
        s->status_w = fd_close(s->status_w);
        s->socket = fd_close(s->socket);
        r = read_report(s, err);
        (void) waitpid(pid, NULL, 0);
        return r;
}

int exec_spawn(struct exec *x, struct err *err) {
        _cleanup_(spawning_done) struct spawning s = { .x = x,
                                                       .plan = PLAN_EMPTY,
                                                       .program = -1,
                                                       .null_fd = -1,
                                                       .status_w = -1,
                                                       .socket = -1,
                                                       .report_r = -1,
                                                       .report_w = -1 };
        int r = look_at_namespaces(&s, err);

        if (r == 0)
                r = plan_build_exec_in(&x->config.spec, &x->process, &x->groups, &s.plan, err);
        if (r == 0)
                r = fs_sealed_copy(x->oci->init_path, "lxcri-init", &s.program, err);
        if (r == 0)
                r = make_channels(&s, err);
        return r < 0 ? r : run_helper(&s, err);
}
