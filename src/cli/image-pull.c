/* SPDX-License-Identifier: Apache-2.0 */
/* image pull - fetch images, with progress. */
#include <stdio.h>
#include "base/str.h"
#include "cli/credentials.h"
#include "cli/json.h"
#include "cli/pull.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 'q', "quiet", NULL, "no progress" },
        CLI_CREDENTIALS_OPTIONS,
        { 0 },
};

static int run(struct cli *cli, const struct cli_args *args) {
        struct pull_args p = { .options = args, .quiet = args_has(args, "quiet") };
        json_t *all = json_array();
        int status = EXIT_FINE;
        struct err err;

        cli_catch_signals();
        for (size_t i = 0; i < args->n_rest && !cli_interrupted(); i++) {
                const char *id;

                p.reference = args->rest[i];
                if (pull_image(cli, &p, &id, &err) < 0) {
                        status = cli_fail(&err);
                        continue;
                }
                if (cli->json)
                        (void) json_array_append_new(all, json_pack("{s:s s:s}", "reference", p.reference, "id", id));
                else
                        printf("%s\n", id);
        }
        if (cli->json)
                json_print(all);
        else
                json_decref(all);
        return cli_interrupted() ? 130 : status;
}

const struct cli_verb verb_image_pull = {
        .name = "image pull",
        .args = "IMAGE...",
        .help = "Fetch images from their registries",
        .description = "Shows bytes, speed and time left of each layer on a terminal, plain lines elsewhere (on "
                       "standard error), then the\n"
                       "image's id. With -o json: a list of {reference, id}.",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = CLI_ARGS_MAX,
};
