/* SPDX-License-Identifier: Apache-2.0 */
/* pod rm - remove pods with their containers. */
#include <stdio.h>
#include "cli/cri.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 'f', "force", NULL, "also those that run: they are killed" },
        { 'a', "all", NULL, "every pod (that has stopped; with -f: every one)" },
        { 0 },
};

static int remove_one(struct cli *cli, const cri_pod *p, bool force, struct err *err) {
        int r;

        if (!force && p->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY)
                return err_set(err, ERR_PRECONDITION, "pod %s runs: stop it first (\"pod stop\"), or give -f",
                               p->metadata ? p->metadata->name : p->id);
        r = cri_remove_pod(cli, p->id, err);
        if (r == 0)
                printf("%s\n", p->id);
        return r;
}

static int run(struct cli *cli, const struct cli_args *args) {
        bool force = args_has(args, "force"), all = args_has(args, "all");
        int status = EXIT_FINE;
        cri_pod **pods, *pod;
        struct err err;
        size_t n;

        if (all == (args->n_rest > 0))
                return cli_usage(&verb_pod_rm, all ? "-a takes no pods" : "which pod? (or -a)");
        if (all && cri_pods(cli, &pods, &n, &err) < 0)
                return cli_fail(&err);
        for (size_t i = 0; all && i < n; i++)
                if ((force || pods[i]->state != RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY) &&
                    remove_one(cli, pods[i], true, &err) < 0)
                        status = cli_fail(&err);
        for (size_t i = 0; i < args->n_rest; i++)
                if (cri_find_pod(cli, args->rest[i], &pod, &err) < 0 || remove_one(cli, pod, force, &err) < 0)
                        status = cli_fail(&err);
        return status;
}

const struct cli_verb verb_pod_rm = {
        .name = "pod rm",
        .args = "[POD...]",
        .help = "Remove pods",
        .options = options,
        .fn = run,
        .max_args = CLI_ARGS_MAX,
};
