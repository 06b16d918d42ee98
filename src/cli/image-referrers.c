/* SPDX-License-Identifier: Apache-2.0 */
/* image referrers - what refers to an image in its registry. */
#include <stdio.h>
#include "cli/credentials.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 0, "artifact-type", "TYPE", "those of this type only" },
        CLI_CREDENTIALS_OPTIONS,
        { 0 },
};

static int run(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__ListReferrersRequest req = PROXMOXLXCRI__V1__LIST_REFERRERS_REQUEST__INIT;
        Proxmoxlxcri__V1__ListReferrersResponse *res = NULL;
        Proxmoxlxcri__V1__Credentials creds;
        struct table t;
        struct err err;

        req.reference = (char *) (uintptr_t) args->rest[0];
        if (args_value(args, "artifact-type"))
                req.artifact_type = (char *) (uintptr_t) args_value(args, "artifact-type");
        req.credentials = &creds;
        if (cli_credentials(cli, args, args->rest[0], &creds, &err) < 0 ||
            cli_call(cli, "/proxmoxlxcri.v1.Admin/ListReferrers", &req.base,
                     &proxmoxlxcri__v1__list_referrers_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        if (cli->json) {
                json_print(json_of_messages(res->referrers, res->n_referrers));
                return EXIT_FINE;
        }
        table_init(&t, cli->arena, "DIGEST", "ARTIFACT TYPE", "SIZE", NULL);
        for (size_t i = 0; i < res->n_referrers; i++)
                table_add(&t, res->referrers[i]->digest, res->referrers[i]->artifact_type,
                          format_bytes(cli->arena, res->referrers[i]->size_bytes), NULL);
        table_print(&t, stdout);
        table_done(&t);
        return EXIT_FINE;
}

const struct cli_verb verb_image_referrers = {
        .name = "image referrers",
        .args = "IMAGE",
        .help = "List what refers to an image in its registry",
        .description = "Signatures, SBOMs and other artifacts whose manifests name it as their subject; by the "
                       "registry's API or, "
                       "where it has\n"
                       "none, by the tag sha256-DIGEST. With -o json also their annotations.",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = 1,
};
