/* SPDX-License-Identifier: Apache-2.0 */
/* pod stats - what running containers use. */
#include <stdio.h>
#include <time.h>
#include "base/str.h"
#include "cli/cri.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"

enum { SAMPLE_MS = 500 };

static int list_stats(struct cli *cli, const cri_pod *pod, Runtime__V1__ListContainerStatsResponse **ret,
                      struct err *err) {
        Runtime__V1__ListContainerStatsRequest req = RUNTIME__V1__LIST_CONTAINER_STATS_REQUEST__INIT;
        Runtime__V1__ContainerStatsFilter filter = RUNTIME__V1__CONTAINER_STATS_FILTER__INIT;

        if (pod) {
                filter.pod_sandbox_id = pod->id;
                req.filter = &filter;
        }
        return cli_call(cli, "/runtime.v1.RuntimeService/ListContainerStats", &req.base,
                        &runtime__v1__list_container_stats_response__descriptor, CLI_TIMEOUT_MS, ret, err);
}

static const char *bytes(struct cli *cli, const Runtime__V1__UInt64Value *v) {
        return v ? format_bytes(cli->arena, v->value) : "";
}

/* CPU used between two samples, in percent of one CPU. */
static const char *cpu_percent(struct cli *cli, const Runtime__V1__ContainerStats *now,
                               const Runtime__V1__ListContainerStatsResponse *before) {
        for (size_t i = 0; i < before->n_stats; i++) {
                const Runtime__V1__ContainerStats *old = before->stats[i];
                int64_t ns;

                if (!old->attributes || !now->attributes || !str_eq(old->attributes->id, now->attributes->id) ||
                    !old->cpu || !now->cpu || !old->cpu->usage_core_nano_seconds || !now->cpu->usage_core_nano_seconds)
                        continue;
                ns = now->cpu->timestamp - old->cpu->timestamp;
                if (ns <= 0 || now->cpu->usage_core_nano_seconds->value < old->cpu->usage_core_nano_seconds->value)
                        continue;
                return arena_printf(cli->arena, "%.1f%%",
                                    100.0 *
                                            (double) (now->cpu->usage_core_nano_seconds->value -
                                                      old->cpu->usage_core_nano_seconds->value) /
                                            (double) ns);
        }
        return "";
}

static const char *limit_of(struct cli *cli, const Runtime__V1__MemoryUsage *m) {
        if (!m || !m->available_bytes || !m->available_bytes->value || !m->working_set_bytes)
                return "";
        return format_bytes(cli->arena, m->available_bytes->value + m->working_set_bytes->value);
}

static const char *pod_of(struct cli *cli, const char *container_id, cri_container **list, size_t n, cri_pod **pods,
                          size_t n_pods) {
        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; str_eq(list[i]->id, container_id) && k < n_pods; k++)
                        if (str_eq(pods[k]->id, list[i]->pod_sandbox_id) && pods[k]->metadata)
                                return pods[k]->metadata->name;
        return "";
}

static int run(struct cli *cli, const struct cli_args *args) {
        Runtime__V1__ListContainerStatsResponse *before, *now;
        cri_container **list;
        size_t n, n_pods;
        cri_pod *pod = NULL, **pods;
        struct table t;
        struct err err;

        if (args->n_rest == 1 && cri_find_pod(cli, args->rest[0], &pod, &err) < 0)
                return cli_fail(&err);
        if (list_stats(cli, pod, &before, &err) < 0)
                return cli_fail(&err);
        if (cli->json) {
                json_print(json_of_messages(before->stats, before->n_stats));
                return EXIT_FINE;
        }
        (void) nanosleep(&(struct timespec){ .tv_nsec = SAMPLE_MS * 1000000L }, NULL);
        if (list_stats(cli, pod, &now, &err) < 0 || cri_containers(cli, NULL, &list, &n, &err) < 0 ||
            cri_pods(cli, &pods, &n_pods, &err) < 0)
                return cli_fail(&err);
        table_init(&t, cli->arena, "CONTAINER ID", "NAME", "POD", "CPU", "MEMORY", "LIMIT", "DISK", NULL);
        for (size_t i = 0; i < now->n_stats; i++) {
                const Runtime__V1__ContainerStats *s = now->stats[i];

                if (!s->attributes)
                        continue;
                table_add(&t, format_id(cli->arena, s->attributes->id),
                          s->attributes->metadata ? s->attributes->metadata->name : "",
                          pod_of(cli, s->attributes->id, list, n, pods, n_pods), cpu_percent(cli, s, before),
                          s->memory ? bytes(cli, s->memory->working_set_bytes) : "", limit_of(cli, s->memory),
                          s->writable_layer ? bytes(cli, s->writable_layer->used_bytes) : "", NULL);
        }
        table_print(&t, stdout);
        table_done(&t);
        return EXIT_FINE;
}

const struct cli_verb verb_pod_stats = {
        .name = "pod stats",
        .args = "[POD]",
        .help = "Show what containers use",
        .description =
                "CPU over half a second, in percent of one CPU; MEMORY is the working set; DISK the writable layer.\n"
                "With -o json: the CRI's ContainerStats messages, at once.",
        .fn = run,
        .max_args = 1,
};
