/* SPDX-License-Identifier: Apache-2.0 */
/* pod ps - containers, one a line. */
#include <stdio.h>
#include "base/str.h"
#include "cli/cri.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 'a', "all", NULL, "those that have ended, too" },
        { 'q', "quiet", NULL, "ids only" },
        { 0 },
};

static const char *image_of(struct cli *cli, const cri_container *c) {
        const char *name = c->image && !str_empty(c->image->user_specified_image) ? c->image->user_specified_image
                           : c->image                                             ? c->image->image
                                                                                  : c->image_ref;

        return str_after(name, "sha256:") ? format_id(cli->arena, name) : name;
}

static const char *name_of_pod(cri_pod **pods, size_t n, const char *id) {
        for (size_t i = 0; i < n; i++)
                if (str_eq(pods[i]->id, id) && pods[i]->metadata)
                        return pods[i]->metadata->name;
        return "";
}

static const char *state_of(struct cli *cli, const cri_container *c) {
        Runtime__V1__ContainerStatusResponse *res;
        struct err err;

        if (c->state != RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED ||
            cri_container_status(cli, c->id, false, &res, &err) < 0)
                return cri_container_state(c->state);
        return arena_printf(cli->arena, "exited %d%s%.40s%s", res->status->exit_code,
                            str_eq(res->status->reason, "OOMKilled") ? " (" : "",
                            str_eq(res->status->reason, "OOMKilled") ? "out of memory" : "",
                            str_eq(res->status->reason, "OOMKilled") ? ")" : "");
}

static int run(struct cli *cli, const struct cli_args *args) {
        cri_container **list;
        size_t n, n_pods, kept = 0;
        cri_pod **pods, *only = NULL;
        struct table t;
        struct err err;

        if (args->n_rest == 1 && cri_find_pod(cli, args->rest[0], &only, &err) < 0)
                return cli_fail(&err);
        if (cri_containers(cli, only ? only->id : NULL, &list, &n, &err) < 0 || cri_pods(cli, &pods, &n_pods, &err) < 0)
                return cli_fail(&err);
        for (size_t i = 0; i < n; i++)
                if (args_has(args, "all") || list[i]->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING)
                        list[kept++] = list[i];
        if (args_has(args, "quiet")) {
                for (size_t i = 0; i < kept; i++)
                        printf("%s\n", list[i]->id);
                return EXIT_FINE;
        }
        if (cli->json) {
                json_print(json_of_messages(list, kept));
                return EXIT_FINE;
        }
        table_init(&t, cli->arena, "CONTAINER ID", "NAME", "POD", "IMAGE", "STATE", "CREATED", NULL);
        for (size_t i = 0; i < kept; i++)
                table_add(&t, format_id(cli->arena, list[i]->id), list[i]->metadata ? list[i]->metadata->name : "",
                          name_of_pod(pods, n_pods, list[i]->pod_sandbox_id), image_of(cli, list[i]),
                          state_of(cli, list[i]), format_age(cli->arena, list[i]->created_at, clock_realtime_ns()),
                          NULL);
        table_print(&t, stdout);
        table_done(&t);
        return EXIT_FINE;
}

const struct cli_verb verb_pod_ps = {
        .name = "pod ps",
        .args = "[POD]",
        .help = "List containers",
        .description = "POD is an id, the beginning of one, a name, or namespace/name.\n"
                       "With -o json: the CRI's Container messages.",
        .options = options,
        .fn = run,
        .max_args = 1,
};
