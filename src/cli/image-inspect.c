/* SPDX-License-Identifier: Apache-2.0 */
/* image inspect - all that is known of images, as JSON. */
#include "cli/json.h"
#include "cli/pull.h"
#include "cli/verbs.h"

static int run(struct cli *cli, const struct cli_args *args) {
        Runtime__V1__ImageStatusResponse *res;
        json_t *all = json_array();
        int status = EXIT_FINE;
        struct err err;

        for (size_t i = 0; i < args->n_rest; i++) {
                json_t *one, *info, *value;
                const char *key;

                res = NULL;
                if (find_image(cli, args->rest[i], true, &res, &err) == 0 && !res)
                        (void) err_set(&err, ERR_NOT_FOUND,
                                       "no image \"%.128s\": \"proxmox-lxcri image ls\" lists them", args->rest[i]);
                else if (res) {
                        one = json_of_message(&res->base);
                        info = json_object_get(one, "info");
                        json_object_foreach(info, key, value) {
                                json_t *inner = json_loads(json_string_value(value), 0, NULL);

                                if (inner)
                                        (void) json_object_set_new(info, key, inner);
                        }
                        (void) json_array_append_new(all, one);
                        continue;
                }
                status = cli_fail(&err);
        }
        json_print(all);
        return status;
}

const struct cli_verb verb_image_inspect = {
        .name = "image inspect",
        .args = "IMAGE...",
        .help = "Show all about images, as JSON",
        .description = "A list of the CRI's ImageStatusResponse messages.",
        .fn = run,
        .min_args = 1,
        .max_args = CLI_ARGS_MAX,
};
