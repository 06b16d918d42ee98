/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "init/plan.h"
#include "init/process.h"
#include "oci/console.h"
#include "oci/creation.h"
#include "oci/foreground.h"
#include "oci/inherited.h"
#include "oci/seccomp-agent.h"
#include "oci/seccomp.h"
#include "runtime/cgroup/cgroup.h"

enum { SUBTREE_CONTROL_MAX = 4096, PROC_CGROUP_MAX = 64 * 1024 };

static void exec_done(struct exec *x) {
        x->groups.cgroups = cgroups_free(x->groups.cgroups);
        x->init_pidfd = fd_close(x->init_pidfd);
        x->pidfd = fd_close(x->pidfd);
        x->status_r = fd_close(x->status_r);
        x->socket = fd_close(x->socket);
}

/* --- the container
 * --------------------------------------------------------------------------------------------------------- */

static int check_status(struct exec *x, const struct oci_dir *d, struct err *err) {
        enum oci_status status = oci_dir_status(d, &x->state, x->groups.cgroups);

        if (status == OCI_STOPPED || status == OCI_CREATING)
                return err_set(err, ERR_PRECONDITION, "cannot exec in a %s container", oci_status_name(status));
        if (status == OCI_PAUSED && !x->args->ignore_paused)
                return err_set(err, ERR_PRECONDITION,
                               "cannot exec in a paused container (use --ignore-paused to override)");
        x->init_pidfd = proc_open(x->state.pid, x->state.start_time);
        return x->init_pidfd < 0 ? err_set(err, ERR_PRECONDITION, "cannot exec in a stopped container") : 0;
}

static int open_container(struct exec *x, struct err *err) {
        _cleanup_(oci_dir_done) struct oci_dir d = OCI_DIR_EMPTY;
        int r = oci_dir_open(x->oci->root, x->args->id, false, &d, err);

        if (r == 0)
                r = oci_state_read(&d, x->oci->arena, &x->state, err);
        if (r == 0)
                r = cgroups_new(&x->groups.cgroups, err);
        if (r == 0)
                r = check_status(x, &d, err);
        return r < 0 ? r : oci_read_stored(&d, &x->state, x->oci->arena, &x->config, err);
}

/* On cgroup v2 a group whose children have controllers takes no processes: a container that has its own tree in there
 * (systemd) has moved its first process below, and that is where an exec goes, too. */
static const char *group_of_init(struct exec *x) {
        const char *own = x->state.cgroup_path, *line;
        _cleanup_(freep) char *control = NULL, *text = NULL;
        struct err ignored;
        char path[64];
        size_t n = strlen(own);

        if (n == 0 || cgroups_mode(x->groups.cgroups) != CGROUP_V2 ||
            fs_read_file(AT_FDCWD, arena_printf(x->oci->arena, "/sys/fs/cgroup%s/cgroup.subtree_control", own),
                         SUBTREE_CONTROL_MAX, &control, NULL, &ignored) < 0 ||
            control[strspn(control, " \n")] == '\0')
                return own;
        (void) snprintf(path, sizeof(path), "/proc/%d/cgroup", (int) x->state.pid);
        if (fs_read_file(AT_FDCWD, path, PROC_CGROUP_MAX, &text, NULL, &ignored) < 0)
                return own;
        line = strstr(text, "0::");
        if (!line || strncmp(line + 3, own, n) != 0 || line[3 + n] != '/')
                return own;
        return arena_strndup(x->oci->arena, line + 3, strcspn(line + 3, "\n"));
}

/* @sub below the container's group. */
static int below_own(const struct exec *x, const char *sub, const char **ret, struct err *err) {
        sub += strspn(sub, "/");
        *ret = x->state.cgroup_path;
        if (!*sub)
                return 0;
        if (str_empty(x->state.cgroup_path))
                return err_set(err, ERR_INVALID, "--cgroup: the container has no control group of its own");
        *ret = arena_printf(x->oci->arena, "%s/%s", x->state.cgroup_path, sub);
        return 0;
}

/* "cpu,cpuacct:path", as runc reads it. */
static int add_subgroups(struct exec *x, const char *arg, struct plan_subgroup *list, struct err *err) {
        const char *colon = strchr(arg, ':'), *path;
        char *names, *name;
        int r;

        if (!colon || strchr(colon + 1, ':'))
                return err_set(err, ERR_INVALID, "invalid --cgroup argument: %.256s (%s)", arg,
                               colon ? "more than one :" : "missing <controller>: prefix");
        r = below_own(x, colon + 1, &path, err);
        if (r < 0)
                return r;
        names = arena_strndup(x->oci->arena, arg, (size_t) (colon - arg));
        while ((name = strsep(&names, ","))) {
                for (size_t i = 0; i < x->groups.n_subgroups; i++)
                        if (str_eq(list[i].controller, name))
                                return err_set(
                                        err, ERR_INVALID,
                                        "invalid --cgroup argument(s): controller %.64s specified multiple times",
                                        name);
                if (x->groups.n_subgroups == CGROUP_MAX_DOORS)
                        return err_set(err, ERR_EXHAUSTED, "--cgroup: more than %d controllers", CGROUP_MAX_DOORS);
                list[x->groups.n_subgroups++] = (struct plan_subgroup){ .controller = name, .path = path };
        }
        return 0;
}

static int find_cgroup(struct exec *x, struct err *err) {
        const char *const *args = x->args->cgroups;
        struct plan_subgroup *list;
        int r = 0;

        x->groups.path = group_of_init(x);
        if (!args || !args[0])
                return 0;
        if (!args[1] && !strchr(args[0], ':'))
                return str_empty(args[0]) ? 0 : below_own(x, args[0], &x->groups.path, err);
        list = arena_array(x->oci->arena, struct plan_subgroup, CGROUP_MAX_DOORS);
        x->groups.subgroups = list;
        for (; *args && r == 0; args++)
                r = add_subgroups(x, *args, list, err);
        return r;
}

/* --- the process
 * ----------------------------------------------------------------------------------------------------------- */

/* The end of the socket without a terminal is that of the process: it says why in the status pipe. */
static int take_terminal(struct exec *x, int *ret_master, struct err *err) {
        _cleanup_(sock_msg_done) struct sock_msg msg = { 0 };
        char type = 0;
        int r;

        if (!x->process.terminal)
                return 0;
        r = sock_recv(x->socket, &type, 1, &msg);
        if (r == 0 && msg.len == 1 && type == PLAN_MSG_READY && msg.n_fds == 1) {
                *ret_master = msg.fds[0];
                msg.fds[0] = -1;
                return 0;
        }
        return r < 0 && r != -ECONNRESET ? err_sys(err, -r, "take the terminal") : 0;
}

/* Empty until the program runs, which closes it. */
static int read_status(struct exec *x, struct err *err) {
        struct exec_status status = { 0 };
        ssize_t n;

        do
                n = read(x->status_r, &status, sizeof(status) - 1);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return err_sys(err, errno, "hear whether the program runs");
        if (n == 0)
                return 0;
        (void) err_set(err, ERR_INVALID, "unable to start container process: %s", status.text);
        err->sys_errno = status.sys_errno;
        return -ERR_INVALID;
}

static int write_pid_file(const struct exec *x, struct err *err) {
        char text[16];
        int n = snprintf(text, sizeof(text), "%d", (int) x->pid);

        if (!x->args->pid_file)
                return 0;
        return fs_write_atomic(AT_FDCWD, x->args->pid_file, text, (size_t) n, 0644, false, err);
}

static int see_it_run(struct exec *x, int console, int *master, struct err *err) {
        int r = take_terminal(x, master, err);

        if (r == 0 && console >= 0 && *master >= 0) {
                r = console_send(console, *master, err);
                *master = fd_close(*master);
        }
        if (r == 0 && x->process.seccomp_notify)
                r = seccomp_agent_serve(x->socket, x->status_r, &x->config, &x->state, OCI_RUNNING, x->pid,
                                        x->oci->arena, err);
        if (r == 0)
                r = read_status(x, err);
        return r < 0 ? r : write_pid_file(x, err);
}

/* Its processes share the processor's cache: what we make from now on is one of them. */
static int join_rdt(const struct exec *x, struct err *err) {
        return !str_empty(x->state.rdt_tasks) ? intel_rdt_add(x->state.rdt_tasks, getpid(), err) : 0;
}

/* Up to where it runs; with detach, from then on it is for whoever adopts our children. */
static int run(struct exec *x, int console, int signals, int *ret_status, struct err *err) {
        _cleanup_(fd_closep) int master = -1;
        int r = join_rdt(x, err);

        if (r == 0)
                r = exec_spawn(x, err);
        if (r < 0)
                return r;
        r = see_it_run(x, console, &master, err);
        if (r < 0) {
                (void) proc_signal(x->pidfd, SIGKILL);
                (void) waitpid(x->pid, NULL, 0);
                return r;
        }
        if (x->args->detach)
                return 0;
        return foreground_wait(
                &(struct foreground){ .signals = signals, .pid = x->pid, .pidfd = x->pidfd, .master = master },
                ret_status, err);
}

int oci_exec(const struct oci *o, const struct oci_exec_args *args, int *ret_status, struct err *err) {
        _cleanup_(exec_done) struct exec x = EXEC_EMPTY;
        _cleanup_(fd_closep) int console = -1, signals = -1;
        int r;

        *ret_status = 0;
        x.oci = o;
        x.args = args;
        r = open_container(&x, err);
        if (r == 0)
                r = exec_read_process(&x, err);
        if (r == 0)
                r = oci_seccomp_load(o, &x.config, &x.process, err);
        if (r == 0)
                r = inherited_add(args->preserve_fds, false, o->arena, &x.process, err);
        if (r == 0)
                r = find_cgroup(&x, err);
        if (r == 0)
                r = console_check(x.process.terminal, args->detach, args->console_socket, err);
        if (r == 0 && args->console_socket)
                r = console_connect(args->console_socket, &console, err);
        if (r == 0 && !args->detach)
                r = foreground_catch_signals(&signals, err);
        return r < 0 ? r : run(&x, console, signals, ret_status, err);
}
