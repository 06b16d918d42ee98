/* SPDX-License-Identifier: Apache-2.0 */
/* pod attach - see and type what a container's program writes and reads. */
#include <unistd.h>
#include "base/str.h"
#include "cli/attach.h"
#include "cli/stream.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

enum { END_TRIES = 20, END_PAUSE_MS = 50 };

static const struct cli_option options[] = {
        { 't', "tty", NULL, "the container has a terminal (needed when it has one)" },
        { 'i', "interactive", NULL, "pass this command's input on" },
        { 0 },
};

int attach_run(struct cli *cli, const struct attach_args *args, struct err *err) {
        Runtime__V1__AttachRequest req = RUNTIME__V1__ATTACH_REQUEST__INIT;
        Runtime__V1__AttachResponse *res;
        struct stream_args stream = { .in_fd = args->interactive ? STDIN_FILENO : -1,
                                      .out_fd = STDOUT_FILENO,
                                      .err_fd = STDERR_FILENO,
                                      .tty = args->tty,
                                      .ready = args->ready,
                                      .userdata = args->userdata };
        int r, code;

        req.container_id = (char *) (uintptr_t) args->container_id;
        req.tty = args->tty;
        req.stdin = args->interactive;
        req.stdout = true;
        req.stderr = !args->tty;
        r = cli_call(cli, "/runtime.v1.RuntimeService/Attach", &req.base, &runtime__v1__attach_response__descriptor,
                     CLI_TIMEOUT_MS, &res, err);
        if (r < 0)
                return r;
        stream.url = res->url;
        if (args->tty && args->interactive)
                (void) terminal_raw();
        r = stream_run(&stream, &code, err);
        terminal_restore();
        return r;
}

/* The streams end a moment before the container does; it may also have closed them and go on. */
static int ended_status(struct cli *cli, const char *id, int *ret, struct err *err) {
        Runtime__V1__ContainerStatusResponse *res;

        *ret = EXIT_FINE;
        for (unsigned i = 0; i < END_TRIES; i++) {
                int r = cri_container_status(cli, id, false, &res, err);

                if (r < 0)
                        return r;
                if (res->status->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED) {
                        *ret = res->status->exit_code & 255;
                        return 0;
                }
                (void) usleep(END_PAUSE_MS * 1000);
        }
        return 0;
}

static int run(struct cli *cli, const struct cli_args *args) {
        struct attach_args a = { .tty = args_has(args, "tty"), .interactive = args_has(args, "interactive") };
        cri_container *c;
        struct err err;
        int status = EXIT_OURS, r = cri_find_container(cli, args->rest[0], &c, &err);

        if (r == 0) {
                a.container_id = c->id;
                r = attach_run(cli, &a, &err);
        }
        if (r == 0)
                r = ended_status(cli, c->id, &status, &err);
        if (r < 0) {
                (void) cli_fail(&err);
                return EXIT_OURS;
        }
        return status;
}

const struct cli_verb verb_pod_attach = {
        .name = "pod attach",
        .args = "POD|CONTAINER",
        .help = "Attach to a running container's streams",
        .description =
                "Shows what its program writes from now on (\"pod logs\" has what it wrote before); with -i this "
                "command's input is\n"
                "its. Ends with the program, and with its exit status.",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = 1,
};
