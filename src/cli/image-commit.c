/* SPDX-License-Identifier: Apache-2.0 */
/* image commit - an image of a container. */
#include "base/str.h"
#include "cli/image-changes.h"
#include "cli/pull.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 'a', "author", "TEXT", "who has made it" },
        { 'c', "change", "INSTRUCTION",
          "of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR; may be "
          "repeated" },
        { 0, "compression", "HOW", "of the new layer: gzip (default) or zstd" },
        { 'm', "message", "TEXT", "about it, in its history" },
        { 'p', "pause", "BOOL", "does the container stand still while its files are read? (default: true)" },
        { 'q', "quiet", NULL, "no progress" },
        { 0 },
};

static int run(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__CommitContainerRequest req = PROXMOXLXCRI__V1__COMMIT_CONTAINER_REQUEST__INIT;
        const struct transfer t = { .method = "/proxmoxlxcri.v1.Admin/CommitContainer",
                                    .request = &req.base,
                                    .name = args->rest[0],
                                    .quiet = args_has(args, "quiet") };
        struct image_changes *changes = arena_new_of(cli->arena, struct image_changes);
        const char *pause = args_value(args, "pause") ?: "true", *change;
        char *name = (char *) (uintptr_t) args->rest[1];
        struct transfer_result result;
        struct err err;

        changes->arena = cli->arena;
        for (size_t it = 0; (change = args_next(args, "change", &it));)
                if (changes_of_instruction(changes, change, &err) < 0)
                        return cli_usage(&verb_image_commit, "%s", err.msg);
        if (!str_eq(pause, "true") && !str_eq(pause, "false"))
                return cli_usage(&verb_image_commit, "--pause is true or false, not \"%.32s\"", pause);
        req.container = (char *) (uintptr_t) args->rest[0];
        req.names = &name;
        req.n_names = name ? 1 : 0;
        req.changes = changes->list;
        req.n_changes = changes->n;
        req.author = (char *) (uintptr_t) (args_value(args, "author") ?: "");
        req.message = (char *) (uintptr_t) (args_value(args, "message") ?: "");
        if (changes_zstd(args, &req.zstd, &err) < 0)
                return cli_usage(&verb_image_commit, "%s", err.msg);
        req.without_pause = str_eq(pause, "false");
        cli_catch_signals();
        if (cli_transfer(cli, &t, &result, &err) < 0)
                return cli_interrupted() ? 130 : cli_fail(&err);
        return cli_print_image(cli, &result);
}

const struct cli_verb verb_image_commit = {
        .name = "image commit",
        .args = "CONTAINER [NAME]",
        .help = "Make an image of a container",
        .description = "Its image with one more layer: what the container has written, without mounts and volumes. The "
                       "config is the image's,\n"
                       "not the pod's, with what -c changes. Prints the id.",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = 2,
};
