/* SPDX-License-Identifier: Apache-2.0 */
/* Commands inside running containers, without liblxc: a helper enters the container's namespaces by its init's pidfd
 * and makes the process as a child of the keeper, which carries out the process part of a plan as init does and execs.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "init/enter.h"
#include "init/process.h"
#include "init/sys.h"
#include "keeper/descriptors.h"
#include "keeper/keeper.h"

enum { HELPER_STACK = 64 * 1024, KILL_PASSES = 5, EXEC_FDS_FIXED = 5 };

struct exec {
        struct exec *next;
        struct keeper *keeper;
        struct connection *waiter;
        uint32_t seq;
        pid_t pid;
        int status_fd; /* a pipe, closed by exec or with an error in it */
        char id[KEEPER_ID_MAX];
};

static void exec_free(struct exec *x) {
        struct exec **p;

        for (p = &x->keeper->execs; *p && *p != x; p = &(*p)->next)
                ;
        if (*p)
                *p = x->next;
        (void) fd_close(x->status_fd);
        free(x);
}

static void send_exited(const struct exec *x, int status) {
        struct keeper_reply reply = { .type = KEEPER_EXEC_EXITED, .seq = x->seq, .status = status, .pid = x->pid };

        (void) snprintf(reply.id, sizeof(reply.id), "%s", x->id);
        if (x->waiter)
                server_send(x->waiter, &reply);
}

/* --- in the helper
 * ---------------------------------------------------------------------------------------------------------- */

struct helper_args {
        const int *fds; /* of the request: plan, init's pidfd, stdio, the plan's own */
        size_t n_fds;
        bool terminal; /* stdin is the socket to send its master on */
        const struct keeper_request *req;
        int status_w;
        pid_t pid;               /* result */
        struct plan_error error; /* result: why there is none */
};

/* A table of its own with what came with the request, and maybe some more. */
static void leave_other_descriptors(const struct helper_args *a) {
        int last = a->status_w;

        for (size_t i = 0; i < a->n_fds; i++)
                last = MAX_OF(last, a->fds[i]);
        /* Linux before 5.9, or a filter around us: all of them. */
        if (sys_close_range((unsigned) last + 1, ~0u, SYS_CLOSE_RANGE_UNSHARE) < 0)
                (void) unshare(CLONE_FILES);
}

/* Shares our memory and descriptors while we wait (as vfork): copying page tables once, for the new process, is enough.
 */
static int helper(void *arg) {
        struct helper_args *a = arg;
        const int *fds = a->fds;
        const struct enter_args args = {
                .flags = a->req->flags & KEEPER_EXEC_USER_NS ? ENTER_USER_NS : 0,
                .root_uid = a->req->root_uid,
                .root_gid = a->req->root_gid,
                .plan = fds[0],
                .pidfd = fds[1],
                .status = a->status_w,
                .socket = a->terminal ? fds[2] : -1,
                .stdio = { fds[a->terminal ? 4 : 2], fds[a->terminal ? 4 : 3], fds[4] },
                .fds = fds + EXEC_FDS_FIXED,
                .n_fds = a->n_fds - EXEC_FDS_FIXED,
        };

        leave_other_descriptors(a);
        if (enter_run(&args, &a->pid, &a->error) < 0)
                a->pid = -1;
        return 0;
}

/* --- in the keeper
 * ---------------------------------------------------------------------------------------------------------- */

/* Why it could not be run, if that is so: what stands in the status pipe. Nobody is told when an exec succeeds: all
 * that matters is how the process ends, and each message would take the CPU from it. */
static bool send_failed(struct exec *x) {
        struct exec_status e = { 0 };
        struct err err = { 0 };

        if (read(x->status_fd, &e, sizeof(e) - 1) <= 0)
                return false;
        (void) err_set(&err, ERR_INVALID, "%s", e.text);
        err.sys_errno = e.sys_errno;
        if (x->waiter)
                server_reply(x->waiter, x->seq, x->id, &err);
        return true;
}

static int start_process(struct exec *x, const int *fds, size_t n_fds, const struct keeper_request *req,
                         struct err *err) {
        static char stack[HELPER_STACK] __attribute__((aligned(16)));
        int p[2];
        struct helper_args args = {
                .fds = fds, .n_fds = n_fds, .terminal = req->flags & KEEPER_EXEC_TERMINAL, .req = req, .pid = -1
        };
        pid_t helper_pid;

        if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
                return err_sys(err, errno, "create an exec status pipe");
        x->status_fd = fd_stays(p[0]);
        args.status_w = p[1];
        helper_pid = clone(helper, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &args);
        (void) close(p[1]);
        if (helper_pid < 0)
                return err_sys(err, errno, "fork an exec helper");
        (void) waitpid(helper_pid, NULL, 0);
        if (args.pid < 0) {
                (void) err_set(err, ERR_INTERNAL, "exec in container %s: %s", x->id, args.error.text);
                err->sys_errno = args.error.sys_errno;
                return -ERR_INTERNAL;
        }
        x->pid = args.pid;
        return 0;
}

int exec_start(struct keeper *k, struct connection *from, const struct keeper_request *req, const int *fds,
               size_t n_fds, struct err *err) {
        struct exec *x;
        int r;

        if (n_fds < EXEC_FDS_FIXED)
                return err_set(err, ERR_INTERNAL, "malformed request to exec");
        x = xnew(struct exec);
        x->keeper = k;
        x->waiter = from;
        x->seq = req->seq;
        x->status_fd = -1;
        (void) snprintf(x->id, sizeof(x->id), "%s", req->id);
        r = start_process(x, fds, n_fds, req, err);
        if (r == 0) {
                x->next = k->execs;
                k->execs = x;
        } else {
                exec_free(x);
        }
        return r;
}

bool exec_reaped(struct keeper *k, pid_t pid, int status) {
        struct exec *x;

        for (x = k->execs; x && x->pid != pid; x = x->next)
                ;
        if (!x)
                return false;
        if (!send_failed(x))
                send_exited(x, status);
        exec_free(x);
        return true;
}

/* Its descendants, and whoever is still in its session, as far as /proc shows them. */
struct process {
        pid_t pid, parent, session;
        bool ours;
};

static size_t list_processes(struct process **ret) {
        _cleanup_(closedirp) DIR *d = opendir("/proc");
        struct process *list = NULL;
        size_t n = 0, cap = 0;
        struct dirent *e;

        while (d && (e = readdir(d))) {
                _cleanup_(fd_closep) int fd = -1;
                char path[300], buf[512], *p;
                uint64_t pid;
                ssize_t len;

                if (!str_to_u64(e->d_name, &pid))
                        continue;
                (void) snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
                fd = open(path, O_RDONLY | O_CLOEXEC);
                len = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
                if (len <= 0)
                        continue;
                buf[len] = '\0';
                p = strrchr(buf, ')');
                if (!p || strlen(p) < 4)
                        continue;
                xgrow(list, n, cap);
                list[n] = (struct process){ .pid = (pid_t) pid };
                /* ") S ppid pgrp session" */
                list[n].parent = (pid_t) strtol(p + 4, &p, 10);
                (void) strtol(p, &p, 10);
                list[n].session = (pid_t) strtol(p, &p, 10);
                n++;
        }
        *ret = list;
        return n;
}

static size_t kill_tree(pid_t root) {
        struct process *list;
        size_t n = list_processes(&list), killed = 0;
        bool more = true;

        for (size_t i = 0; i < n; i++)
                list[i].ours = list[i].pid == root || list[i].session == root;
        while (more) {
                more = false;
                for (size_t i = 0; i < n; i++)
                        for (size_t j = 0; !list[i].ours && j < n; j++)
                                if (list[j].ours && list[i].parent == list[j].pid)
                                        list[i].ours = more = true;
        }
        for (size_t i = 0; i < n; i++)
                if (list[i].ours && kill(list[i].pid, SIGKILL) == 0)
                        killed++;
        free(list);
        return killed;
}

void exec_kill(struct keeper *k, struct connection *from, uint32_t seq) {
        struct exec *x;

        for (x = k->execs; x && (x->seq != seq || x->waiter != from); x = x->next)
                ;
        /* It is ours and not reaped yet, so its pid can't have become another's. Repeated, for what it forks meanwhile.
         */
        for (int i = 0; x && i < KILL_PASSES && kill_tree(x->pid) > 1; i++)
                ;
}

void exec_forget_waiter(struct keeper *k, const struct connection *c) {
        for (struct exec *x = k->execs; x; x = x->next)
                if (x->waiter == c)
                        x->waiter = NULL;
}
