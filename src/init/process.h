/* SPDX-License-Identifier: Apache-2.0 */
/* process - the process part of a plan: from a privileged process in the container's namespaces to the user's program.
 * The same code runs in proxmox-lxcri-init and, built with glibc, in the keeper's exec helper. Single-threaded programs
 * only.
 *
 * The exec helper, in a child of the keeper that was given the exec's plan and its descriptors:
 *   reader_map(&r, memfd, n_fds, &e);
 *   process_join_cgroups(&r, fds, &folder, &e);             before the namespaces are entered
 *   setns(init's pidfd, all but the cgroup one); clone3 into the folder, so as to be inside the PID namespace;
 *   setns(init's pidfd, the cgroup one); stdin, stdout, stderr on 0, 1, 2;
 *   process_run_exec(&r, status_fd, terminal_socket);       never returns */
#pragma once
#include "init/reader.h"
#include "init/users.h"

struct process_args {
        const struct reader *plan;
        const struct users_result *user;
        int proc_fd;   /* the container's procfs, -1: it has none; closed */
        int status_fd; /* kept open until the exec, all others above 2 are closed; -1: none */
        int sock;      /* where the descriptor of a seccomp filter that notifies goes; O_CLOEXEC; -1: nowhere */
        int n_kept;    /* of process_place_fds(): 3 and so many more are kept, for the program, too */
        bool dies_with_parent;
};

/* Ambient state every program of ours starts from: signals at their defaults and unblocked, umask 0, nothing above 2
 * survives an exec. */
void process_reset(void);

/* @folder: of a v2 cgroup, as PLAN_CGROUP_FOLDER says. */
int process_join_cgroup(int fd, bool folder, struct plan_error *e);
/* With the affinity that it is entered with. All but the v2 one, which is left in @folder (-1: there is none) to clone
 * the process into: joining it by a write waits for an RCU grace period under a lock of the whole host. */
int process_join_cgroups(const struct reader *plan, const int *fds, int *folder, struct plan_error *e);
/* PLAN_PRESERVE: puts those of the plan's descriptors @fds in their places, and out of the way what @args has. */
int process_place_fds(struct process_args *args, const int *fds, struct plan_error *e);
/* PLAN_OOM_SCORE_ADJ, if it is there. */
int process_set_oom(const struct reader *plan, int proc_fd, struct plan_error *e);

/* Everything but the exec: label, limits, working folder, ids, capabilities, no_new_privs, seccomp. On failure the
 * process is in between: it can only report and exit. */
int process_apply(const struct process_args *args, struct plan_error *e);
/* Is there a program of that name? Callers of OCI runtimes want to hear it from create; the exec finds out what else
 * there is against it. */
int process_look_for_program(const struct reader *plan, struct plan_error *e);
/* PLAN_ARGS with PLAN_ENV. Returns on failure only. */
int process_exec(const struct process_args *args, struct plan_error *e);

/* Write "i32 errno, text" to @status_fd and return the exit code: 127 when there is no such program, else 126. */
int process_report(int status_fd, const struct plan_error *e);

/* @fds: the plan's own. @sock: a socket to send the terminal's master to when the plan wants one (a message of one
 * byte, PLAN_MSG_READY, with the descriptor), and then the descriptor of a seccomp filter that notifies; -1 when it
 * wants neither. */
__attribute__((noreturn)) void process_run_exec(const struct reader *plan, const int *fds, int status_fd, int sock);

/* What an exec status pipe carries when the exec failed (init/plan.h). */
struct exec_status {
        int32_t sys_errno;
        char text[PLAN_ERROR_MAX];
};
