/* SPDX-License-Identifier: Apache-2.0 */
/* image edit - an image with another config. */
#include "base/str.h"
#include "cli/image-changes.h"
#include "cli/pull.h"
#include "cli/verbs.h"

enum { NAMES_MAX = 256 };

static const struct cli_option options[] = {
        { 't', "tag", "NAME", "what the new image is called (default: IMAGE, if it is a tag); may be repeated" },
        CLI_CHANGE_OPTIONS,
        { 'q', "quiet", NULL, "no progress" },
        { 0 },
};

static int run(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__EditImageRequest req = PROXMOXLXCRI__V1__EDIT_IMAGE_REQUEST__INIT;
        const struct transfer t = { .method = "/proxmoxlxcri.v1.Admin/EditImage",
                                    .request = &req.base,
                                    .name = args->rest[0],
                                    .quiet = args_has(args, "quiet") };
        struct image_changes *changes = arena_new_of(cli->arena, struct image_changes);
        char *names[NAMES_MAX];
        struct transfer_result result;
        const char *name;
        struct err err;

        changes->arena = cli->arena;
        if (changes_of_options(changes, args, &err) < 0)
                return cli_usage(&verb_image_edit, "%s", err.msg);
        req.image = (char *) (uintptr_t) args->rest[0];
        req.names = names;
        for (size_t it = 0; (name = args_next(args, "tag", &it)) && req.n_names < NAMES_MAX;)
                names[req.n_names++] = (char *) (uintptr_t) name;
        if (changes->n == 0)
                return cli_usage(&verb_image_edit, "what is to change?");
        req.changes = changes->list;
        req.n_changes = changes->n;
        cli_catch_signals();
        if (cli_transfer(cli, &t, &result, &err) < 0)
                return cli_interrupted() ? 130 : cli_fail(&err);
        return cli_print_image(cli, &result);
}

const struct cli_verb verb_image_edit = {
        .name = "image edit",
        .args = "IMAGE",
        .help = "Make an image with another config of one that is here",
        .description =
                "With the options of \"buildah config\", in the order in which they are given. The new image has the "
                "same layers;\n"
                "its id is printed. Without -t it takes the name from the old one, which stays, without it.",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = 1,
};
