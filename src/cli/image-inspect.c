/* SPDX-License-Identifier: Apache-2.0 */
/* image inspect - all that is known of images, as JSON. */
#include "cli/image-inspect.h"

#include "cli/credentials.h"
#include "cli/json.h"
#include "cli/pull.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 0, "remote", NULL, "what its registry has under that name, without a pull, as \"skopeo inspect\" tells it" },
        { 0, "raw", NULL, "with --remote: the manifest or index, with --config the config, byte for byte" },
        { 0, "config", NULL, "with --remote: the config" },
        { 'n', "no-tags", NULL, "with --remote: without the list of the repository's tags" },
        CLI_CREDENTIALS_OPTIONS,
        { 0 },
};

static int show_local(struct cli *cli, const struct cli_args *args) {
        Runtime__V1__ImageStatusResponse *res;
        json_t *all = json_array();
        int status = EXIT_FINE;
        struct err err;

        for (size_t i = 0; i < args->n_rest; i++) {
                json_t *one, *info, *value;
                const char *key;

                if (find_image(cli, args->rest[i], true, &res, &err) < 0) {
                        status = cli_fail(&err);
                        continue;
                }
                one = json_of_message(&res->base);
                info = json_object_get(one, "info");
                json_object_foreach(info, key, value) {
                        json_t *inner = json_loads(json_string_value(value), 0, NULL);

                        if (inner)
                                (void) json_object_set_new(info, key, inner);
                }
                (void) json_array_append_new(all, one);
        }
        json_print(all);
        return status;
}

static int run(struct cli *cli, const struct cli_args *args) {
        if (args_has(args, "remote"))
                return args->n_rest == 1 ? image_inspect_remote(cli, args)
                                         : cli_usage(&verb_image_inspect, "--remote is for one image");
        if (args_has(args, "raw") || args_has(args, "config") || args_has(args, "no-tags") || args_has(args, "creds") ||
            args_has(args, "authfile"))
                return cli_usage(&verb_image_inspect, "--raw, --config, --no-tags and credentials go with --remote");
        return show_local(cli, args);
}

const struct cli_verb verb_image_inspect = {
        .name = "image inspect",
        .args = "IMAGE...",
        .help = "Show all about images, as JSON",
        .description =
                "A list of the CRI's ImageStatusResponse messages. With --remote one object with Skopeo's members "
                "(of an index those of\n"
                "this machine's image) and, besides, MediaType, Annotations, ArtifactType, Subject, and of an index "
                "its "
                "Manifests with\n"
                "their platforms.",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = CLI_ARGS_MAX,
};
