/* SPDX-License-Identifier: Apache-2.0 */
/* pod logs - what a container wrote. */
#include <stdio.h>
#include "base/str.h"
#include "cli/cri.h"
#include "cli/logs.h"
#include "cli/verbs.h"

enum { STATUS_EVERY_MS = 500 };

static const struct cli_option options[] = {
        { 'f', "follow", NULL, "go on until the container ends" },
        { 'n', "tail", "LINES", "only the last so many lines" },
        { 't', "timestamps", NULL, "each line with its time" },
        { 0 },
};

static bool has_ended(struct cli *cli, const char *id) {
        Runtime__V1__ContainerStatusResponse *res;
        struct err err;

        if (cri_container_status(cli, id, false, &res, &err) < 0)
                return err.code == ERR_NOT_FOUND;
        return res->status->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED;
}

static int follow(struct cli *cli, const char *id, struct log_reader *reader) {
        uint64_t asked_ns = 0;
        bool ended = false;
        struct err err;

        for (;;) {
                if (log_reader_pump(reader, &err) < 0)
                        return err.code == ERR_UNAVAILABLE ? EXIT_FAILED : cli_fail(&err);
                if (ended || cli_interrupted())
                        return cli_interrupted() ? 130 : EXIT_FINE;
                log_reader_wait(reader, STATUS_EVERY_MS);
                if (clock_monotonic_ns() - asked_ns < STATUS_EVERY_MS * 1000000ULL)
                        continue;
                ended = has_ended(cli, id);
                asked_ns = clock_monotonic_ns();
        }
}

static int run(struct cli *cli, const struct cli_args *args) {
        _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
        const char *tail = args_value(args, "tail");
        struct log_options o = { .timestamps = args_has(args, "timestamps"), .has_tail = tail != NULL };
        Runtime__V1__ContainerStatusResponse *res;
        cri_container *c;
        struct err err;

        if (tail && !str_to_u64(tail, &o.tail))
                return cli_usage(&verb_pod_logs, "--tail is a number of lines, not \"%.32s\"", tail);
        if (cri_find_container(cli, args->rest[0], &c, &err) < 0 ||
            cri_container_status(cli, c->id, false, &res, &err) < 0)
                return cli_fail(&err);
        if (str_empty(res->status->log_path)) {
                fprintf(stderr, "proxmox-lxcri: this container has no log: its pod was made without a log folder\n");
                return EXIT_FAILED;
        }
        if (log_reader_new(res->status->log_path, &o, &reader, &err) < 0)
                return cli_fail(&err);
        if (args_has(args, "follow")) {
                cli_catch_signals();
                return follow(cli, c->id, reader);
        }
        if (log_reader_pump(reader, &err) < 0)
                return err.code == ERR_UNAVAILABLE ? EXIT_FAILED : cli_fail(&err);
        return EXIT_FINE;
}

const struct cli_verb verb_pod_logs = {
        .name = "pod logs",
        .args = "POD|CONTAINER",
        .help = "Show a container's output",
        .description =
                "What it wrote to standard output and standard error goes to this command's. Rotation is followed.",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = 1,
};
