/* SPDX-License-Identifier: Apache-2.0 */
/* route ls - the daemon's routes. */
#include <stdio.h>
#include "cli/cri.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"

static int list(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__ExplainRouteRequest req = PROXMOXLXCRI__V1__EXPLAIN_ROUTE_REQUEST__INIT;
        Proxmoxlxcri__V1__ExplainRouteResponse *res;
        struct table t;
        struct err err;

        (void) args;
        if (cri_explain_route(cli, &req, &res, &err) < 0)
                return cli_fail(&err);
        if (cli->json) {
                json_t *rules = json_array();

                for (size_t i = 0; i < res->n_rules; i++)
                        (void) json_array_append_new(
                                rules, json_pack("{s:s s:s s:s}", "conditions", res->rules[i]->conditions, "handler",
                                                 res->rules[i]->handler, "where", res->rules[i]->where));
                json_print(json_pack("{s:o s:s}", "routes", rules, "default_handler", res->default_handler));
                return EXIT_FINE;
        }
        table_init(&t, cli->arena, "ROUTE", "IF", "HANDLER", "WHERE", NULL);
        for (size_t i = 0; i < res->n_rules; i++)
                table_add(&t, arena_printf(cli->arena, "%zu", i), res->rules[i]->conditions, res->rules[i]->handler,
                          res->rules[i]->where, NULL);
        table_add(&t, "default", "any other pod", res->default_handler, "default-runtime-handler", NULL);
        table_print(&t, stdout);
        table_done(&t);
        return EXIT_FINE;
}

const struct cli_verb verb_route_ls = {
        .name = "route ls",
        .args = "",
        .help = "List the routes, by which pods get a runtime handler that name none",
        .description = "The first one that matches decides. With -o json: {routes: [{conditions, handler, where}], "
                       "default_handler}.",
        .fn = list,
};
