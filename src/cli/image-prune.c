/* SPDX-License-Identifier: Apache-2.0 */
/* image prune - remove images that nothing needs. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "cli/cli.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "proto/admin.pb-c.h"

enum { LABELS_MAX = 64 };

static const struct cli_option options[] = {
        { 'a', "all", NULL, "those that have a tag, too" },
        { 'f', "force", NULL, "do not ask" },
        { 0, "dry-run", NULL, "only show which would go" },
        { 0, "filter", "KEY=VALUE", "only label=KEY, label=KEY=VALUE, or without one: label!=... (may be repeated)" },
        { 0 },
};

/* "label=..." and "label!=..." */
static int parse_filters(struct cli *cli, const struct cli_args *args, char **labels, size_t *ret_n, struct err *err) {
        const char *filter;
        size_t n = 0;

        for (size_t it = 0; (filter = args_next(args, "filter", &it));) {
                const char *with = str_after(filter, "label="), *without = str_after(filter, "label!=");

                if (str_empty(with) && str_empty(without))
                        return err_set(err, ERR_INVALID, "--filter wants label=... or label!=..., not \"%.100s\"",
                                       filter);
                if (n == LABELS_MAX)
                        return err_set(err, ERR_INVALID, "more than %d filters", LABELS_MAX);
                labels[n++] = with ? (char *) (uintptr_t) with : arena_printf(cli->arena, "!%s", without);
        }
        *ret_n = n;
        return 0;
}

static bool agrees(bool all) {
        char answer[16] = "";

        fprintf(stderr, "Remove all images that no container uses%s? [y/N] ", all ? "" : " and that have no tag");
        return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static void print(struct cli *cli, const Proxmoxlxcri__V1__PruneImagesResponse *res, bool dry_run) {
        struct table t;

        table_init(&t, cli->arena, dry_run ? "WOULD REMOVE" : "REMOVED", "NAME", "SIZE", NULL);
        for (size_t i = 0; i < res->n_images; i++) {
                const Proxmoxlxcri__V1__PrunedImage *image = res->images[i];

                table_add(&t, arena_printf(cli->arena, "%.12s", image->id + strlen("sha256:")),
                          image->n_names ? image->names[0] : "<none>", format_bytes(cli->arena, image->bytes), NULL);
        }
        if (res->n_images)
                table_print(&t, stdout);
        table_done(&t);
        if (!dry_run)
                printf("freed: %s\n", format_bytes(cli->arena, res->freed_bytes));
}

static int run(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__PruneImagesRequest req = PROXMOXLXCRI__V1__PRUNE_IMAGES_REQUEST__INIT;
        Proxmoxlxcri__V1__PruneImagesResponse *res = NULL;
        char *labels[LABELS_MAX];
        struct err err;

        req.all = args_has(args, "all");
        req.dry_run = args_has(args, "dry-run");
        req.labels = labels;
        if (parse_filters(cli, args, labels, &req.n_labels, &err) < 0)
                return cli_usage(&verb_image_prune, "%s", err.msg);
        if (!req.dry_run && !args_has(args, "force")) {
                if (!isatty(STDIN_FILENO))
                        return cli_usage(&verb_image_prune, "nobody can be asked here: --force, or --dry-run");
                if (!agrees(req.all))
                        return EXIT_FAILED;
        }
        if (cli_call(cli, "/proxmoxlxcri.v1.Admin/PruneImages", &req.base,
                     &proxmoxlxcri__v1__prune_images_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        if (cli->json)
                json_print(json_of_message(&res->base));
        else
                print(cli, res, req.dry_run);
        return EXIT_FINE;
}

const struct cli_verb verb_image_prune = {
        .name = "image prune",
        .args = "",
        .help = "Remove images that no container uses",
        .description = "Those without a tag; with --all those with one, too. Never what \"pinned-images\" of the "
                       "daemon's configuration "
                       "names,\n"
                       "nor what is mounted (\"image mount\"). SIZE counts layers that other images have, too; "
                       "what was freed "
                       "does not.",
        .options = options,
        .fn = run,
};
