/* SPDX-License-Identifier: Apache-2.0 */
/* enter - see enter.h. */
#include "init/enter.h"

#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include "init/fail.h"
#include "init/path.h"
#include "init/process.h"
#include "init/reader.h"
#include "init/sys.h"
#include "init/users.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

/* What takes the host's root: streams for the container's, and a score below ours. */
static int prepare_for_user_ns(const struct enter_args *a, const struct reader *plan, struct plan_error *e) {
        int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), proc = root < 0 ? -1 : path_open_proc(root), r;
        struct stat st;

        for (int i = 0; i < 3; i++)
                if (fstat(a->stdio[i], &st) == 0 && S_ISFIFO(st.st_mode) && st.st_uid == 0)
                        (void) !fchown(a->stdio[i], a->root_uid, a->root_gid);
        r = process_set_oom(plan, proc, e);
        if (proc >= 0)
                (void) close(proc);
        if (root >= 0)
                (void) close(root);
        return r;
}

/* The user namespace last of all: from inside it nobody may enter, or join, what belongs to the host. */
static int enter_last(const struct enter_args *a, struct plan_error *e) {
        if (setns(a->pidfd, CLONE_NEWCGROUP) < 0)
                return fail_set(e, errno, "enter the container's cgroup namespace", NULL);
        if (!(a->flags & ENTER_USER_NS))
                return 0;
        if (setns(a->pidfd, CLONE_NEWUSER) < 0)
                return fail_set(e, errno, "enter the container's user namespace", NULL);
        if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
                return fail_set(e, errno, "become root of the container's user namespace", NULL);
        return 0;
}

static __attribute__((noreturn)) void run_process(const struct enter_args *a, const struct reader *plan, int join) {
        struct plan_error e;

        /* The namespace last: from inside it, nobody may be moved into the group, if the mount delegates. */
        if ((join >= 0 && process_join_cgroup(join, true, &e) < 0) || enter_last(a, &e) < 0)
                _exit(process_report(a->status, &e));
        /* Its own session: what it leaves behind can be told from the rest of the container. */
        (void) setsid();
        for (int i = 0; i < 3; i++)
                if (dup2(a->stdio[i], i) < 0) {
                        (void) fail_set(&e, errno, "attach the standard streams", NULL);
                        _exit(process_report(a->status, &e));
                }
        process_run_exec(plan, a->fds, a->status, a->socket);
}

/* A sibling, in the v2 cgroup @folder if there is one. */
static pid_t clone_process(const struct enter_args *a, const struct reader *plan, int folder) {
        struct sys_clone_args args = { .flags = SYS_CLONE_PARENT | SYS_CLONE_INTO_CGROUP, .cgroup = (uint64_t) folder };
        long pid = -1;

        if (folder >= 0)
                pid = syscall(SYS_clone3, &args, sizeof(args));
        if (pid == 0)
                run_process(a, plan, -1);
        /* Linux before 5.7, or a filter around us. */
        if (pid < 0 && (folder < 0 || errno == ENOSYS || errno == EINVAL || errno == E2BIG || errno == EPERM)) {
                pid = syscall(SYS_clone, SYS_CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
                if (pid == 0)
                        run_process(a, plan, folder);
        }
        return (pid_t) pid;
}

int enter_run(const struct enter_args *a, pid_t *ret, struct plan_error *e) {
        const int ns = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                       (a->flags & ENTER_TIME_NS ? CLONE_NEWTIME : 0);
        struct reader plan;
        int folder, r;

        if (reader_map(&plan, a->plan, a->n_fds, e) < 0)
                return -1;
        r = process_join_cgroups(&plan, a->fds, &folder, e);
        if (r == 0 && a->flags & ENTER_USER_NS)
                r = prepare_for_user_ns(a, &plan, e);
        if (r == 0 && setns(a->pidfd, ns) < 0)
                r = fail_set(e, errno, "enter the container's namespaces", NULL);
        if (r == 0) {
                *ret = clone_process(a, &plan, folder);
                if (*ret < 0)
                        r = fail_set(e, errno, "fork", NULL);
        }
        (void) munmap((void *) (uintptr_t) plan.header, plan.header->size);
        return r;
}

/* --- as a program of its own
 * ------------------------------------------------------------------------------------------------ */

enum { N_FIXED = 11, MAX_ARGS = N_FIXED + PLAN_MAX_FDS };

static int parse_numbers(int argc, char **argv, int *ret) {
        char *end;

        for (int i = 0; i < argc; i++) {
                errno = 0;
                ret[i] = (int) (uint32_t) strtoll(argv[i], &end, 10); /* ids have all 32 bits */
                if (errno || end == argv[i] || *end)
                        return -1;
        }
        return 0;
}

int enter_main(int argc, char **argv) {
        static int n[MAX_ARGS];
        struct enter_report report = { .pid = -1 };
        struct enter_args a;
        pid_t pid = -1;

        if (argc < N_FIXED || argc > MAX_ARGS || parse_numbers(argc, argv, n) < 0)
                return 126;
        /* To the container's processes we are as good as root's program that was setuid. */
        (void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        (void) prctl(PR_SET_NAME, "lxcri-exec", 0, 0, 0);
        a = (struct enter_args){ .flags = (unsigned) n[1],
                                 .root_uid = (uint32_t) n[2],
                                 .root_gid = (uint32_t) n[3],
                                 .plan = n[4],
                                 .pidfd = n[5],
                                 .status = n[6],
                                 .socket = n[7],
                                 .stdio = { n[8], n[9], n[10] },
                                 .fds = n + N_FIXED,
                                 .n_fds = (size_t) (argc - N_FIXED) };
        (void) fcntl(n[0], F_SETFD, FD_CLOEXEC);
        if (enter_run(&a, &pid, &report.error) == 0)
                report.pid = pid;
        return write(n[0], &report, sizeof(report)) == (ssize_t) sizeof(report) && pid > 0 ? 0 : 126;
}
