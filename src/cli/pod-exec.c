/* SPDX-License-Identifier: Apache-2.0 */
/* pod exec - run a command in a container, to its end. */
#include <stdio.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "cli/cri.h"
#include "cli/json.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 't', "tty", NULL, "with a terminal (not there yet)" },
        { 'i', "interactive", NULL, "with this command's input (not there yet)" },
        { 0 },
};

static int run(struct cli *cli, const struct cli_args *args) {
        Runtime__V1__ExecSyncRequest req = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
        Runtime__V1__ExecSyncResponse *res;
        cri_container *c;
        struct err err;

        if (args_has(args, "tty") || args_has(args, "interactive")) {
                fprintf(stderr, "proxmox-lxcri: pod exec: -t and -i are not there yet. Without them the command runs "
                                "to its end and "
                                "its output is shown; \"crictl exec -it ID sh\" gives a shell.\n");
                return EXIT_OURS;
        }
        if (cri_find_container(cli, args->rest[0], &c, &err) < 0) {
                (void) cli_fail(&err);
                return EXIT_OURS;
        }
        req.container_id = c->id;
        req.cmd = (char **) (uintptr_t) &args->rest[1];
        req.n_cmd = args->n_rest - 1;
        req.timeout = (int64_t) (cli->timeout_ms / 1000);
        cli_catch_signals();
        /* The limit is the command's, the daemon kills it; the request gets a little longer. */
        cli->timeout_ms = cli->timeout_ms ? cli->timeout_ms + 5000 : 0;
        if (cli_call(cli, "/runtime.v1.RuntimeService/ExecSync", &req.base,
                     &runtime__v1__exec_sync_response__descriptor, 0, &res, &err) < 0) {
                (void) cli_fail(&err);
                return cli_interrupted() ? 130 : EXIT_OURS;
        }
        if (cli->json) {
                json_print(json_of_message(&res->base));
                return res->exit_code & 255;
        }
        if (fs_write_all(STDOUT_FILENO, res->stdout.data, res->stdout.len) < 0 ||
            fs_write_all(STDERR_FILENO, res->stderr.data, res->stderr.len) < 0)
                return EXIT_OURS;
        return res->exit_code & 255;
}

const struct cli_verb verb_pod_exec = {
        .name = "pod exec",
        .args = "POD|CONTAINER COMMAND [ARG...]",
        .help = "Run a command in a running container",
        .description =
                "Shows its output when it has ended (16 MiB of each stream at most) and passes its exit status; 125: "
                "it could\n"
                "not be run. --timeout SECONDS kills it after that time.\n"
                "The container is named by id, the beginning of one, or its pod; POD/NAME where the pod has several.",
        .options = options,
        .fn = run,
        .min_args = 2,
        .max_args = CLI_ARGS_MAX,
        .stop_at_args = true,
};
