/* SPDX-License-Identifier: Apache-2.0 */
/* pod ls - pods, one a line. */
#include <stdio.h>
#include "base/str.h"
#include "cli/cri.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 'q', "quiet", NULL, "ids only" },
        { 'n', "namespace", "NAME", "only pods of this namespace" },
        { 0, "ready", NULL, "only pods that are ready" },
        { 0 },
};

static const char *address_of(struct cli *cli, const cri_pod *p) {
        Runtime__V1__PodSandboxStatusResponse *res;
        struct err err;

        if (p->state != RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY ||
            cri_pod_status(cli, p->id, false, &res, &err) < 0 || !res->status || !res->status->network)
                return "";
        return res->status->network->ip;
}

static bool wanted(const struct cli_args *args, const cri_pod *p) {
        const char *namespace = args_value(args, "namespace");

        if (args_has(args, "ready") && p->state != RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY)
                return false;
        return !namespace || (p->metadata && str_eq(p->metadata->namespace_, namespace));
}

static int run(struct cli *cli, const struct cli_args *args) {
        cri_container **containers;
        size_t n, n_containers, kept = 0;
        struct table t;
        cri_pod **pods;
        struct err err;

        if (cri_pods(cli, &pods, &n, &err) < 0)
                return cli_fail(&err);
        for (size_t i = 0; i < n; i++)
                if (wanted(args, pods[i]))
                        pods[kept++] = pods[i];
        if (args_has(args, "quiet")) {
                for (size_t i = 0; i < kept; i++)
                        printf("%s\n", pods[i]->id);
                return EXIT_FINE;
        }
        if (cli->json) {
                json_print(json_of_messages(pods, kept));
                return EXIT_FINE;
        }
        if (cri_containers(cli, NULL, &containers, &n_containers, &err) < 0)
                return cli_fail(&err);
        table_init(&t, cli->arena, "POD ID", "NAME", "NAMESPACE", "STATE", "CONTAINERS", "ADDRESS", "CREATED", NULL);
        for (size_t i = 0; i < kept; i++) {
                const cri_pod *p = pods[i];
                unsigned running = 0, all = 0;

                for (size_t k = 0; k < n_containers; k++) {
                        if (!str_eq(containers[k]->pod_sandbox_id, p->id))
                                continue;
                        all++;
                        running += containers[k]->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING;
                }
                table_add(&t, format_id(cli->arena, p->id), p->metadata ? p->metadata->name : "",
                          p->metadata ? p->metadata->namespace_ : "", cri_pod_state(p),
                          arena_printf(cli->arena, "%u/%u", running, all), address_of(cli, p),
                          format_age(cli->arena, p->created_at, clock_realtime_ns()), NULL);
        }
        table_print(&t, stdout);
        table_done(&t);
        return EXIT_FINE;
}

const struct cli_verb verb_pod_ls = {
        .name = "pod ls",
        .args = "",
        .help = "List pods",
        .description = "CONTAINERS is running/all. With -o json: the CRI's PodSandbox messages.",
        .options = options,
        .fn = run,
};
