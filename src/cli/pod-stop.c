/* SPDX-License-Identifier: Apache-2.0 */
/* pod stop - end a pod's containers, gently, and its network. */
#include <stdio.h>
#include "base/str.h"
#include "cli/cri.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 't', "time", "SECONDS", "how long containers may take to end (default 10), then they are killed" },
        { 0 },
};

static int stop(struct cli *cli, const char *what, int64_t grace_s, struct err *err) {
        cri_container **list;
        cri_pod *pod;
        size_t n;
        int r;

        if ((r = cri_find_pod(cli, what, &pod, err)) < 0 || (r = cri_containers(cli, pod->id, &list, &n, err)) < 0)
                return r;
        for (size_t i = 0; i < n; i++)
                if (list[i]->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING &&
                    (r = cri_stop_container(cli, list[i]->id, grace_s, err)) < 0)
                        return r;
        if ((r = cri_stop_pod(cli, pod->id, err)) == 0)
                printf("%s\n", pod->id);
        return r;
}

static int run(struct cli *cli, const struct cli_args *args) {
        const char *time = args_value(args, "time");
        int status = EXIT_FINE;
        int64_t grace_s = 10;
        struct err err;

        if (time && (!str_to_i64(time, &grace_s) || grace_s < 0 || grace_s > 86400))
                return cli_usage(&verb_pod_stop, "--time is a number of seconds up to 86400, not \"%.32s\"", time);
        for (size_t i = 0; i < args->n_rest; i++)
                if (stop(cli, args->rest[i], grace_s, &err) < 0)
                        status = cli_fail(&err);
        return status;
}

const struct cli_verb verb_pod_stop = {
        .name = "pod stop",
        .args = "POD...",
        .help = "Stop pods",
        .description = "Sends each container its stop signal, kills it after --time, then takes the pod's network "
                       "away. The pod, its\n"
                       "logs and exit codes stay until \"pod rm\".",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = CLI_ARGS_MAX,
};
