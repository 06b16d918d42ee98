/* SPDX-License-Identifier: Apache-2.0 */
/* lxc - the host's lxc-* tools, looking at our containers: with the right -P, in the keeper's network namespace (where
 * the monitors' command sockets are) and its mount namespace. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/str.h"
#include "cli/cri.h"
#include "cli/verbs.h"

static int enter(pid_t keeper) {
        _cleanup_(fd_closep) int fd = (int) syscall(SYS_pidfd_open, keeper, 0);

        return fd < 0 || setns(fd, CLONE_NEWNS | CLONE_NEWNET) < 0 ? -errno : 0;
}

/* Tools that take a container as their first argument get the whole id for the beginning of one, or for a pod's name.
 */
static const char *full_id(struct cli *cli, const char *what) {
        cri_container *c;
        struct err err;

        return cri_find_container(cli, what, &c, &err) == 0 ? c->id : what;
}

static int run(struct cli *cli, const struct cli_args *args) {
        const char *verb = args->rest[0], **argv = arena_array(cli->arena, const char *, args->n_rest + 8);
        const char *tool = arena_printf(cli->arena, "lxc-%.32s", verb);
        Proxmoxlxcri__V1__InfoResponse *info;
        struct err err;
        size_t n = 0, from = 1;
        int r;

        if (strspn(verb, "abcdefghijklmnopqrstuvwxyz-") != strlen(verb) || strlen(verb) > 32)
                return cli_usage(&verb_lxc, "\"%.32s\" is no lxc tool: ls, info, attach, top, ...", verb);
        if (cri_info(cli, &info, &err) < 0)
                return cli_fail(&err);
        if (info->keeper_pid <= 0) {
                fprintf(stderr, "proxmox-lxcri: no keeper runs, so no container does\n");
                return EXIT_FAILED;
        }
        argv[n++] = tool;
        argv[n++] = "-P";
        argv[n++] = info->lxc_path;
        if (str_eq(verb, "ls"))
                argv[n++] = "--active"; /* they are defined nowhere on disk: only running ones can be listed */
        if (args->n_rest > 1 && args->rest[1][0] != '-' && !str_eq(verb, "ls")) {
                argv[n++] = "-n";
                argv[n++] = full_id(cli, args->rest[1]);
                from = 2;
        }
        for (size_t i = from; i < args->n_rest; i++)
                argv[n++] = args->rest[i];
        argv[n] = NULL;
        r = enter(info->keeper_pid);
        if (r < 0) {
                fprintf(stderr, "proxmox-lxcri: enter the keeper's namespaces (pid %d): %s%s\n", info->keeper_pid,
                        strerror(-r), r == -EPERM ? "; run this as root" : "");
                return EXIT_FAILED;
        }
        (void) execvp(tool, (char *const *) (uintptr_t) argv);
        fprintf(stderr, "proxmox-lxcri: %s: %s%s\n", tool, strerror(errno),
                errno == ENOENT ? "; \"apt install lxc\" has it" : "");
        return EXIT_FAILED;
}

const struct cli_verb verb_lxc = {
        .name = "lxc",
        .args = "ls|info|attach|top|... [ARG...]",
        .help = "Run the host's lxc-* tools on our containers",
        .description = "\"lxc ls --fancy\", \"lxc info ID\", \"lxc attach ID -- sh\": lxc-ls, lxc-info, lxc-attach "
                       "with the right path, from\n"
                       "inside the keeper's namespaces. Containers are called by their ids; a pod's name stands for "
                       "its container.",
        .fn = run,
        .min_args = 1,
        .max_args = CLI_ARGS_MAX,
        .stop_at_args = true,
};
