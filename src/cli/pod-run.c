/* SPDX-License-Identifier: Apache-2.0 */
/* pod run - a pod with one container, in one command. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/str.h"
#include "cli/attach.h"
#include "cli/json.h"
#include "cli/logs.h"
#include "cli/pod-config.h"
#include "cli/pull.h"
#include "cli/verbs.h"

enum { STATUS_EVERY_MS = 50, STOP_GRACE_S = 10 };

struct run {
        struct cli *cli;
        const struct cli_args *args;
        struct pod_config config;
        const char *pod_id, *container_id; /* NULL until made */
        bool is_started;
};

static int pull_if_missing(struct run *run, struct err *err) {
        const char *reference = run->args->rest[0], *id;
        struct pull_args p = { .reference = reference, .options = run->args, .quiet = args_has(run->args, "quiet") };
        Runtime__V1__ImageStatusResponse *res;
        int r = find_image(run->cli, reference, false, &res, err);

        return r == -ERR_NOT_FOUND ? pull_image(run->cli, &p, &id, err) : r;
}

static int make_pod(struct run *run, struct err *err) {
        Runtime__V1__RunPodSandboxRequest req = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
        const char *handler = args_value(run->args, "runtime");
        Runtime__V1__RunPodSandboxResponse *res;
        int r = fs_mkdir_p(run->config.pod->log_directory, 0755, err);

        if (r < 0)
                return err_wrap(err, "make the folder for its log");
        req.config = run->config.pod;
        if (handler)
                req.runtime_handler = (char *) (uintptr_t) handler;
        r = cli_call(run->cli, "/runtime.v1.RuntimeService/RunPodSandbox", &req.base,
                     &runtime__v1__run_pod_sandbox_response__descriptor, 2 * CLI_TIMEOUT_MS, &res, err);
        if (r == 0)
                run->pod_id = res->pod_sandbox_id;
        return r < 0 ? err_wrap(err, "make the pod") : 0;
}

static int make_container(struct run *run, struct err *err) {
        Runtime__V1__CreateContainerRequest req = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT;
        Runtime__V1__CreateContainerResponse *res;
        int r;

        req.pod_sandbox_id = (char *) (uintptr_t) run->pod_id;
        req.config = run->config.container;
        req.sandbox_config = run->config.pod;
        r = cli_call(run->cli, "/runtime.v1.RuntimeService/CreateContainer", &req.base,
                     &runtime__v1__create_container_response__descriptor, CLI_TIMEOUT_MS, &res, err);
        if (r < 0)
                return err_wrap(err, "make the container");
        run->container_id = res->container_id;
        return 0;
}

static int start_container(struct run *run, struct err *err) {
        Runtime__V1__StartContainerRequest start = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;
        Runtime__V1__StartContainerResponse *started;
        int r;

        start.container_id = (char *) (uintptr_t) run->container_id;
        r = cli_call(run->cli, "/runtime.v1.RuntimeService/StartContainer", &start.base,
                     &runtime__v1__start_container_response__descriptor, CLI_TIMEOUT_MS, &started, err);
        return r < 0 ? err_wrap(err, "start it") : 0;
}

/* Nothing of a run that did not come to its program may stay. */
static void take_back(struct run *run) {
        struct err err;
        int r = 0;

        cli_forget_interrupt();
        if (run->pod_id)
                r = cri_remove_pod(run->cli, run->pod_id, &err);
        if (r == 0)
                r = fs_remove_tree(AT_FDCWD, run->config.pod->log_directory, &err);
        if (r < 0)
                fprintf(stderr, "proxmox-lxcri: clean up: %s\n", err.msg);
}

/* Follow the log until the container has ended; @ret is set when its status is known. */
static int follow(struct run *run, Runtime__V1__ContainerStatusResponse **ret, struct err *err) {
        static const struct log_options all = { 0 };
        _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
        Runtime__V1__ContainerStatusResponse *res = NULL;
        uint64_t asked_ns = 0;
        bool ended = false;
        int r = log_reader_new(run->config.log_path, &all, &reader, err);

        for (; r == 0 && !ended && !cli_interrupted();) {
                _cleanup_(arena_freep) struct arena *scratch = NULL;

                if (clock_monotonic_ns() - asked_ns >= STATUS_EVERY_MS * 1000000ULL) {
                        /* Asked for hours: each answer in memory of its own. */
                        struct arena *kept = run->cli->arena;

                        run->cli->arena = scratch = arena_new(16 << 20);
                        r = cri_container_status(run->cli, run->container_id, false, &res, err);
                        ended = r == 0 && res->status->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED;
                        run->cli->arena = kept;
                        asked_ns = clock_monotonic_ns();
                }
                /* The log is complete before the end is told. */
                if (r == 0)
                        r = log_reader_pump(reader, err);
                if (r == 0 && !ended && !cli_interrupted())
                        log_reader_wait(reader, STATUS_EVERY_MS);
        }
        if (cli_interrupted()) {
                cli_forget_interrupt();
                fprintf(stderr, "stopping it (again to leave it) ...\n");
                if ((r = cri_stop_container(run->cli, run->container_id, STOP_GRACE_S, err)) < 0)
                        return r;
                r = log_reader_pump(reader, err);
        }
        if (r < 0)
                return r;
        return cri_container_status(run->cli, run->container_id, false, ret, err);
}

static int exit_status_of(const Runtime__V1__ContainerStatus *s) {
        if (str_eq(s->reason, "OOMKilled"))
                fprintf(stderr, "proxmox-lxcri: its memory limit was reached and it was killed; --memory sets it\n");
        else if (!str_empty(s->message) && s->exit_code != 0)
                fprintf(stderr, "proxmox-lxcri: %s\n", s->message);
        return s->exit_code & 255;
}

static int start_attached(void *userdata, struct err *err) {
        struct run *run = userdata;
        int r = start_container(run, err);

        run->is_started = r == 0;
        return r;
}

/* The program is started once we are attached, so that nothing of it is missed. */
static int interact(struct run *run, Runtime__V1__ContainerStatusResponse **ret, struct err *err) {
        const struct attach_args a = { .container_id = run->container_id,
                                       .tty = args_has(run->args, "tty"),
                                       .interactive = true,
                                       .ready = start_attached,
                                       .userdata = run };
        int r = attach_run(run->cli, &a, err);

        if (r < 0 && !run->is_started)
                return r;
        if (r < 0) {
                fprintf(stderr, "proxmox-lxcri: %s; stopping it ...\n", err->msg);
                cli_forget_interrupt();
                r = cri_stop_container(run->cli, run->container_id, STOP_GRACE_S, err);
        }
        if (r < 0)
                return r;
        for (;;) {
                r = cri_container_status(run->cli, run->container_id, false, ret, err);
                if (r < 0 || (*ret)->status->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED)
                        return r;
                (void) usleep(STATUS_EVERY_MS * 1000);
        }
}

static int attached(struct run *run) {
        Runtime__V1__ContainerStatusResponse *res = NULL;
        struct err err;
        int status = EXIT_OURS;

        if ((run->is_started ? follow(run, &res, &err) : interact(run, &res, &err)) < 0)
                (void) cli_fail(&err);
        else
                status = exit_status_of(res->status);
        cli_forget_interrupt();
        if (!run->is_started) {
                take_back(run);
                return status;
        }
        if ((args_has(run->args, "rm") ? cri_remove_pod(run->cli, run->pod_id, &err)
                                       : cri_stop_pod(run->cli, run->pod_id, &err)) < 0)
                (void) cli_fail(&err);
        return status;
}

static bool is_interactive(const struct cli_args *args) {
        return args_has(args, "interactive") && !args_has(args, "detach");
}

static int run_pod(struct cli *cli, const struct cli_args *args) {
        struct run run = { .cli = cli, .args = args };
        Proxmoxlxcri__V1__InfoResponse *info;
        struct err err;

        if (args_has(args, "rm") && args_has(args, "detach")) {
                (void) cli_usage(&verb_pod_run, "--rm and --detach exclude each other: nobody is left to remove it");
                return EXIT_OURS;
        }
        cli_catch_signals();
        if (cri_info(cli, &info, &err) < 0) {
                (void) cli_fail(&err);
                return EXIT_OURS;
        }
        if (pod_config_from_args(args, arena_printf(cli->arena, "%s/logs", info->root), cli->arena, &run.config, &err) <
            0) {
                (void) cli_usage(&verb_pod_run, "%s", err.msg);
                return EXIT_OURS;
        }
        if (pull_if_missing(&run, &err) < 0) {
                (void) cli_fail(&err);
                return cli_interrupted() ? 130 : EXIT_OURS;
        }
        if (make_pod(&run, &err) < 0 || make_container(&run, &err) < 0 ||
            (!is_interactive(args) && start_attached(&run, &err) < 0)) {
                (void) cli_fail(&err);
                take_back(&run);
                return EXIT_OURS;
        }
        if (!args_has(args, "detach"))
                return attached(&run);
        if (cli->json)
                json_print(json_pack("{s:s s:s s:s}", "pod", run.pod_id, "container", run.container_id, "name",
                                     run.config.name));
        else
                printf("%s\n", run.pod_id);
        return EXIT_FINE;
}

const struct cli_verb verb_pod_run = {
        .name = "pod run",
        .args = "IMAGE [ARG...]",
        .help = "Run a pod with one container",
        .description = "Pulls the image when it is missing, makes the pod, runs the image's program (ARGs replace its "
                       "default arguments),\n"
                       "shows its output and passes its exit status; 125: it could not be run. Ctrl-C stops it; what "
                       "was not asked to be\n"
                       "removed (--rm) stays, stopped, with its log. With -d: prints the pod's id; with -o json {pod, "
                       "container, name}.\n"
                       "On a Kubernetes node the kubelet may remove pods that it did not make.",
        .options = pod_run_options,
        .fn = run_pod,
        .min_args = 1,
        .max_args = CLI_ARGS_MAX,
        .stop_at_args = true,
};
