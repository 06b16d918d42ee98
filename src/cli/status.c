/* SPDX-License-Identifier: Apache-2.0 */
/* status - is the daemon ready to run pods? */
#include <stdio.h>
#include "base/str.h"
#include "cli/cri.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"

static int run(struct cli *cli, const struct cli_args *args) {
        Runtime__V1__StatusRequest req = RUNTIME__V1__STATUS_REQUEST__INIT;
        Runtime__V1__StatusResponse *res;
        bool ready = true;
        struct table t;
        struct err err;

        if (cli_call(cli, "/runtime.v1.RuntimeService/Status", &req.base, &runtime__v1__status_response__descriptor,
                     CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        for (size_t i = 0; res->status && i < res->status->n_conditions; i++)
                ready = ready && res->status->conditions[i]->status;
        if (cli->json) {
                json_print(json_of_message(&res->base));
                return ready ? EXIT_FINE : EXIT_FAILED;
        }
        table_init(&t, cli->arena, "CONDITION", "STATE", "REASON", "MESSAGE", NULL);
        for (size_t i = 0; res->status && i < res->status->n_conditions; i++) {
                const Runtime__V1__RuntimeCondition *c = res->status->conditions[i];

                table_add(&t, c->type, c->status ? "ready" : "not ready", c->reason, c->message, NULL);
        }
        table_print(&t, stdout);
        table_done(&t);
        return ready ? EXIT_FINE : EXIT_FAILED;
}

const struct cli_verb verb_status = {
        .name = "status",
        .args = "",
        .help = "Show whether the daemon is ready to run pods",
        .description = "Exits with 1 when it is not. With -o json: the CRI's StatusResponse.",
        .fn = run,
};
