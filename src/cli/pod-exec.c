/* SPDX-License-Identifier: Apache-2.0 */
/* pod exec - run a command in a container, to its end: at once with its output, or with this command's input and
 * terminal over the streaming server. */
#include <stdio.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "cli/cri.h"
#include "cli/json.h"
#include "cli/stream.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 't', "tty", NULL, "with a terminal" },
        { 'i', "interactive", NULL, "with this command's input" },
        { 0 },
};

static int at_once(struct cli *cli, const struct cli_args *args, const cri_container *c) {
        Runtime__V1__ExecSyncRequest req = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
        Runtime__V1__ExecSyncResponse *res;
        struct err err;

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

static int streamed(struct cli *cli, const struct cli_args *args, const cri_container *c) {
        Runtime__V1__ExecRequest req = RUNTIME__V1__EXEC_REQUEST__INIT;
        Runtime__V1__ExecResponse *res;
        struct stream_args stream = { .in_fd = -1, .out_fd = STDOUT_FILENO, .err_fd = STDERR_FILENO };
        struct err err;
        int r, code;

        stream.tty = args_has(args, "tty");
        req.tty = stream.tty;
        req.container_id = c->id;
        req.cmd = (char **) (uintptr_t) &args->rest[1];
        req.n_cmd = args->n_rest - 1;
        req.stdin = args_has(args, "interactive");
        req.stdout = true;
        req.stderr = !req.tty;
        if (req.stdin)
                stream.in_fd = STDIN_FILENO;
        r = cli_call(cli, "/runtime.v1.RuntimeService/Exec", &req.base, &runtime__v1__exec_response__descriptor,
                     CLI_TIMEOUT_MS, &res, &err);
        if (r == 0) {
                stream.url = res->url;
                if (req.tty && req.stdin)
                        (void) terminal_raw();
                r = stream_run(&stream, &code, &err);
                terminal_restore();
        }
        if (r == 0)
                return code;
        (void) cli_fail(&err);
        return EXIT_OURS;
}

static int run(struct cli *cli, const struct cli_args *args) {
        bool wants_stream = args_has(args, "tty") || args_has(args, "interactive");
        cri_container *c;
        struct err err;

        if (wants_stream && (cli->json || cli->timeout_ms)) {
                (void) cli_usage(&verb_pod_exec, "-t and -i go neither with -o json nor with --timeout");
                return EXIT_OURS;
        }
        if (cri_find_container(cli, args->rest[0], &c, &err) < 0) {
                (void) cli_fail(&err);
                return EXIT_OURS;
        }
        return wants_stream ? streamed(cli, args, c) : at_once(cli, args, c);
}

const struct cli_verb verb_pod_exec = {
        .name = "pod exec",
        .args = "POD|CONTAINER COMMAND [ARG...]",
        .help = "Run a command in a running container",
        .description =
                "Passes its exit status; 125: it could not be run. -it gives a shell: \"pod exec -it POD sh\".\n"
                "Without -i and -t its output is shown when it has ended (16 MiB of each stream at most), and "
                "--timeout "
                "SECONDS\n"
                "kills it after that time.\n"
                "The container is named by id, the beginning of one, or its pod; POD/NAME where the pod has several.",
        .options = options,
        .fn = run,
        .min_args = 2,
        .max_args = CLI_ARGS_MAX,
        .stop_at_args = true,
};
