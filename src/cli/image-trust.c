/* SPDX-License-Identifier: Apache-2.0 */
/* image trust show, test - the signature policy. */
#include <stdio.h>
#include "base/str.h"
#include "cli/credentials.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"

static const char *join(struct arena *arena, char **list, size_t n) {
        const char *text = "";

        for (size_t i = 0; i < n; i++)
                text = arena_printf(arena, "%s%s%s", text, i ? " " : "", list[i]);
        return text;
}

/* "registry.example/team", "(docker)"; of what is loaded "oci:/srv/images", "(oci)". */
static const char *scope_of(struct arena *arena, const Proxmoxlxcri__V1__TrustRule *rule) {
        if (str_empty(rule->scope))
                return arena_printf(arena, "(%s)", rule->transport);
        return str_empty(rule->transport) || str_eq(rule->transport, "docker")
                       ? rule->scope
                       : arena_printf(arena, "%s:%s", rule->transport, rule->scope);
}

static int show(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__ShowTrustRequest req = PROXMOXLXCRI__V1__SHOW_TRUST_REQUEST__INIT;
        Proxmoxlxcri__V1__ShowTrustResponse *res = NULL;
        struct table t;
        struct err err;

        (void) args;
        if (cli_call(cli, "/proxmoxlxcri.v1.Admin/ShowTrust", &req.base,
                     &proxmoxlxcri__v1__show_trust_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        if (cli->json) {
                json_print(json_of_message(&res->base));
                return EXIT_FINE;
        }
        if (str_empty(res->policy)) {
                printf("there is no signature policy: all images are pulled\n");
                return EXIT_FINE;
        }
        table_init(&t, cli->arena, "SCOPE", "TYPE", "IDENTITY", "KEYS", NULL);
        for (size_t i = 0; i < res->n_rules; i++) {
                const Proxmoxlxcri__V1__TrustRule *rule = res->rules[i];

                table_add(&t, scope_of(cli->arena, rule), rule->type, rule->identity,
                          join(cli->arena, rule->keys, rule->n_keys), NULL);
        }
        table_print(&t, stdout);
        table_done(&t);
        return EXIT_FINE;
}

const struct cli_verb verb_image_trust_show = {
        .name = "image trust show",
        .args = "",
        .help = "Show the signature policy that the daemon obeys",
        .description = "A line for each requirement; all of a scope's must be met, and of the scopes the most specific "
                       "one counts.\n"
                       "\"(docker)\" is the scope \"\": all images of registries. Of what is loaded or imported scopes "
                       "begin with oci, oci-archive,\n"
                       "docker-archive or tarball.",
        .options = CLI_NO_OPTIONS,
        .fn = show,
};

static const struct cli_option test_options[] = {
        CLI_CREDENTIALS_OPTIONS,
        { 0 },
};

static int test(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__TestTrustRequest req = PROXMOXLXCRI__V1__TEST_TRUST_REQUEST__INIT;
        Proxmoxlxcri__V1__TestTrustResponse *res = NULL;
        Proxmoxlxcri__V1__Credentials creds;
        struct err err;

        req.reference = (char *) (uintptr_t) args->rest[0];
        req.credentials = &creds;
        if (cli_credentials(cli, args, args->rest[0], &creds, &err) < 0 ||
            cli_call(cli, "/proxmoxlxcri.v1.Admin/TestTrust", &req.base,
                     &proxmoxlxcri__v1__test_trust_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        if (cli->json)
                json_print(json_of_message(&res->base));
        else if (str_empty(res->policy))
                printf("%s: there is no signature policy\n", res->digest);
        else if (str_empty(res->signers))
                printf("%s: accepted, scope \"%s\" of %s wants no signature\n", res->digest, res->scope, res->policy);
        else
                printf("%s: accepted, scope \"%s\" of %s; signed: %s\n", res->digest, res->scope, res->policy,
                       res->signers);
        return EXIT_FINE;
}

const struct cli_verb verb_image_trust_test = {
        .name = "image trust test",
        .args = "IMAGE",
        .help = "Would the signature policy let an image be pulled?",
        .description =
                "Asks the registry for the manifest and the signatures, and keeps nothing. Fails with the reason "
                "when it would not.",
        .options = test_options,
        .fn = test,
        .min_args = 1,
        .max_args = 1,
};
