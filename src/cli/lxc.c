/* SPDX-License-Identifier: Apache-2.0 */
/* lxc - the host's lxc-* tools, looking at our containers: with the right -P, where their command sockets are. Pods'
 * are in the keeper's network namespace, seen from its mount namespace; the OCI runtime's in that of all watchers
 * (runtime/lxc/launch.h). */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/proc.h"
#include "base/str.h"
#include "cli/cri.h"
#include "cli/verbs.h"
#include "oci/state.h"
#include "runtime/lxc/launch.h"

struct target {
        const char *lxc_path;
        const char *name; /* NULL: the tool wants none */
        int pidfd;        /* of who is in the namespaces */
        int namespaces;   /* which of them */
        size_t from;      /* first argument for the tool */
};

static int run_tool(struct cli *cli, const struct cli_args *args, const struct target *t) {
        const char **argv = arena_array(cli->arena, const char *, args->n_rest + 8);
        const char *tool = arena_printf(cli->arena, "lxc-%.32s", args->rest[0]);
        size_t n = 0;

        argv[n++] = tool;
        argv[n++] = "-P";
        argv[n++] = t->lxc_path;
        if (str_eq(args->rest[0], "ls"))
                argv[n++] = "--active"; /* they are defined nowhere on disk: only running ones can be listed */
        if (t->name) {
                argv[n++] = "-n";
                argv[n++] = t->name;
        }
        for (size_t i = t->from; i < args->n_rest; i++)
                argv[n++] = args->rest[i];
        argv[n] = NULL;
        if (setns(t->pidfd, t->namespaces) < 0) {
                fprintf(stderr, "proxmox-lxcri: enter the namespaces of LXC's command sockets: %s%s\n", strerror(errno),
                        errno == EPERM ? "; run this as root" : "");
                return EXIT_FAILED;
        }
        (void) execvp(tool, (char *const *) (uintptr_t) argv);
        fprintf(stderr, "proxmox-lxcri: %s: %s%s\n", tool, strerror(errno),
                errno == ENOENT ? "; \"apt install lxc\" has it" : "");
        return EXIT_FAILED;
}

/* --- pods --------------------------------------------------------------------------------------------------------- */

/* Tools that take a container as their first argument get the whole id for the beginning of one, or for a pod's name.
 */
static const char *full_id(struct cli *cli, const char *what) {
        cri_container *c;
        struct err err;

        return cri_find_container(cli, what, &c, &err) == 0 ? c->id : what;
}

static int run_for_pods(struct cli *cli, const struct cli_args *args, const struct target *asked) {
        Proxmoxlxcri__V1__InfoResponse *info;
        struct target t = *asked;
        struct err err;

        if (cri_info(cli, &info, &err) < 0)
                return cli_fail(&err);
        if (info->keeper_pid <= 0) {
                fprintf(stderr, "proxmox-lxcri: no keeper runs, so no pod's container does\n");
                return EXIT_FAILED;
        }
        t.lxc_path = info->lxc_path;
        t.name = t.name ? full_id(cli, t.name) : NULL;
        t.namespaces = CLONE_NEWNS | CLONE_NEWNET;
        t.pidfd = (int) syscall(SYS_pidfd_open, info->keeper_pid, 0);
        return run_tool(cli, args, &t);
}

/* --- the OCI runtime's -------------------------------------------------------------------------------------------- */

/* A watcher's pidfd; -1: it has none, so it does not run. @ret_path: where liblxc believes it to be. */
static int open_watcher(struct cli *cli, const char *root, const char *id, const char **ret_path) {
        _cleanup_(oci_dir_done) struct oci_dir dir = OCI_DIR_EMPTY;
        struct oci_state s;
        struct err err;
        int fd;

        if (oci_dir_open(root, id, false, &dir, &err) < 0 || oci_state_read(&dir, cli->arena, &s, &err) < 0 ||
            s.watcher_pid <= 0)
                return -1;
        *ret_path = arena_printf(cli->arena, LAUNCH_LXC_PATH "%s", dir.root);
        fd = proc_open(s.watcher_pid, s.watcher_start);
        return fd >= 0 && proc_wait_gone(fd, 0) ? fd_close(fd) : fd; /* it ends with the container */
}

/* The container of that id, or the only one whose id begins so; NULL: none. */
static const char *find_oci(struct cli *cli, const char *root, const char *what) {
        const char **ids = NULL, *found = NULL;
        struct err err;

        if (oci_list(root, cli->arena, &ids, &err) < 0)
                return NULL;
        for (size_t n = 0; *ids; ids++) {
                if (str_eq(*ids, what))
                        return *ids;
                if (str_after(*ids, what) && n++ > 0)
                        return NULL;
                found = str_after(*ids, what) ? *ids : found;
        }
        return found;
}

static int run_for_oci(struct cli *cli, const struct cli_args *args, const char *root, const struct target *asked) {
        struct target t = *asked;

        if (str_eq(args->rest[0], "console")) {
                fprintf(stderr,
                        "proxmox-lxcri: the terminal of %s is its engine's: \"podman attach\", \"ctr tasks attach\" "
                        "and "
                        "the like show it; \"proxmox-lxcri exec -t %s sh\" opens one of its own\n",
                        t.name, t.name);
                return EXIT_FAILED;
        }
        t.pidfd = open_watcher(cli, root, t.name, &t.lxc_path);
        if (t.pidfd < 0) {
                fprintf(stderr, "proxmox-lxcri: container %s does not run: LXC knows nothing of it\n", t.name);
                return EXIT_FAILED;
        }
        t.namespaces = CLONE_NEWNET;
        return run_tool(cli, args, &t);
}

/* The folder of them all is only in watchers' mount namespaces. False: none runs. */
static bool find_watcher(struct cli *cli, const char *root, struct target *t) {
        const char **ids = NULL;
        struct err err;

        if (oci_list(root, cli->arena, &ids, &err) < 0)
                return false;
        for (t->pidfd = -1; *ids && t->pidfd < 0; ids++)
                t->pidfd = open_watcher(cli, root, *ids, &t->lxc_path);
        t->namespaces = CLONE_NEWNS | CLONE_NEWNET;
        return t->pidfd >= 0;
}

/* Both kinds, one after the other, as far as there are any. */
static int list(struct cli *cli, const struct cli_args *args, const char *root) {
        Proxmoxlxcri__V1__InfoResponse *info;
        struct target t = { .from = 1, .pidfd = -1 };
        bool watched = find_watcher(cli, root, &t);
        int status = 0;
        struct err err;
        pid_t pid;

        if (!watched)
                return run_for_pods(cli, args, &(struct target){ .from = 1 });
        if (cri_info(cli, &info, &err) < 0 || info->keeper_pid <= 0)
                return run_tool(cli, args, &t);
        pid = fork();
        if (pid == 0)
                _exit(run_for_pods(cli, args, &(struct target){ .from = 1 }));
        if (pid > 0 && waitpid(pid, &status, 0) == pid && status != 0)
                return EXIT_FAILED; /* it has said why */
        return run_tool(cli, args, &t);
}

static int run(struct cli *cli, const struct cli_args *args) {
        const char *verb = args->rest[0], *root = args_value(args, "root"), *id;
        struct target t = { .from = 1, .pidfd = -1 };

        if (strspn(verb, "abcdefghijklmnopqrstuvwxyz-") != strlen(verb) || strlen(verb) > 32)
                return cli_usage(&verb_lxc, "\"%.32s\" is no lxc tool: ls, info, attach, top, ...", verb);
        root = root ? root : OCI_DEFAULT_ROOT;
        if (str_eq(verb, "ls"))
                return list(cli, args, root);
        if (args->n_rest < 2 || args->rest[1][0] == '-')
                return run_for_pods(cli, args, &t);
        t.name = args->rest[1];
        t.from = 2;
        id = find_oci(cli, root, t.name);
        if (!id)
                return run_for_pods(cli, args, &t);
        t.name = id;
        return run_for_oci(cli, args, root, &t);
}

const struct cli_verb verb_lxc = {
        .name = "lxc",
        .args = "ls|info|attach|top|... [ARG...]",
        .help = "Run the host's lxc-* tools on our containers",
        .description = "\"lxc ls --fancy\", \"lxc info ID\", \"lxc attach ID -- sh\": lxc-ls, lxc-info, lxc-attach "
                       "with the right path, where\n"
                       "their command sockets are. Containers are called by their ids or the beginning of one: the "
                       "OCI runtime's, else\npods'; a pod's name stands for its container. Only running ones can be "
                       "listed.",
        .options = (const struct cli_option[]){ { 0, "root", "FOLDER",
                                                  "where the OCI runtime's states are (default " OCI_DEFAULT_ROOT ")" },
                                                { 0 } },
        .fn = run,
        .min_args = 1,
        .max_args = CLI_ARGS_MAX,
        .stop_at_args = true,
};
