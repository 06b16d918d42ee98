/* SPDX-License-Identifier: Apache-2.0 */
/* pod inspect - all that is known of a pod and its containers, as JSON. */
#include <stdio.h>
#include "cli/cri.h"
#include "cli/json.h"
#include "cli/verbs.h"

/* Values of "info" are JSON texts themselves: shown as what they hold. */
static void open_info(json_t *message) {
        json_t *info = json_object_get(message, "info"), *value;
        const char *key;

        json_object_foreach(info, key, value) {
                json_t *inner = json_loads(json_string_value(value), 0, NULL);

                if (inner)
                        (void) json_object_set_new(info, key, inner);
        }
}

static json_t *inspect(struct cli *cli, const char *what, struct err *err) {
        Runtime__V1__PodSandboxStatusResponse *status;
        json_t *out, *containers;
        cri_container **list;
        cri_pod *pod;
        size_t n;

        if (cri_find_pod(cli, what, &pod, err) < 0 || cri_pod_status(cli, pod->id, true, &status, err) < 0 ||
            cri_containers(cli, pod->id, &list, &n, err) < 0)
                return NULL;
        out = json_of_message(&status->base);
        (void) json_object_del(out, "containers_statuses");
        (void) json_object_del(out, "timestamp");
        open_info(out);
        containers = json_array();
        for (size_t i = 0; i < n; i++) {
                Runtime__V1__ContainerStatusResponse *res;
                json_t *one;

                if (cri_container_status(cli, list[i]->id, true, &res, err) < 0)
                        continue; /* removed meanwhile */
                one = json_of_message(&res->base);
                open_info(one);
                (void) json_array_append_new(containers, one);
        }
        (void) json_object_set_new(out, "containers", containers);
        return out;
}

static int run(struct cli *cli, const struct cli_args *args) {
        json_t *all = json_array();
        int status = EXIT_FINE;
        struct err err;

        for (size_t i = 0; i < args->n_rest; i++) {
                json_t *one = inspect(cli, args->rest[i], &err);

                if (one)
                        (void) json_array_append_new(all, one);
                else
                        status = cli_fail(&err);
        }
        json_print(all);
        return status;
}

const struct cli_verb verb_pod_inspect = {
        .name = "pod inspect",
        .args = "POD...",
        .help = "Show all about pods, as JSON",
        .description = "A list with the CRI's PodSandboxStatusResponse of each pod, and in \"containers\" the "
                       "ContainerStatusResponse of\n"
                       "each of its containers.",
        .fn = run,
        .min_args = 1,
        .max_args = CLI_ARGS_MAX,
};
