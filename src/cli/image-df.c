/* SPDX-License-Identifier: Apache-2.0 */
/* image df - what images take of the disk. */
#include <string.h>
#include "base/str.h"
#include "cli/cli.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "proto/admin.pb-c.h"

static const struct cli_option options[] = {
        { 'v', "verbose", NULL, "each image, too" },
        { 0 },
};

static const char *number(struct cli *cli, uint64_t n) {
        return arena_printf(cli->arena, "%llu", (unsigned long long) n);
}

static void print_kinds(struct cli *cli, const Proxmoxlxcri__V1__ImageUsageResponse *res) {
        struct table t;

        table_init(&t, cli->arena, "TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE", NULL);
        for (size_t i = 0; i < res->n_kinds; i++) {
                const Proxmoxlxcri__V1__DiskUse *k = res->kinds[i];

                /* What images are made of comes below them. */
                table_add(&t, i == 1 || i == 2 ? arena_printf(cli->arena, "  %s", k->kind) : k->kind,
                          number(cli, k->total), number(cli, k->active), format_bytes(cli->arena, k->bytes),
                          format_bytes(cli->arena, k->reclaimable_bytes), NULL);
        }
        table_print(&t, stdout);
        table_done(&t);
}

static void print_images(struct cli *cli, const Proxmoxlxcri__V1__ImageUsageResponse *res) {
        uint64_t now = clock_realtime_ns();
        struct table t;

        table_init(&t, cli->arena, "IMAGE", "NAME", "SIZE", "SHARED", "UNIQUE", "USERS", "PULLED", "LAST USED", NULL);
        for (size_t i = 0; i < res->n_images; i++) {
                const Proxmoxlxcri__V1__ImageUse *image = res->images[i];

                table_add(&t, arena_printf(cli->arena, "%.12s", image->id + strlen("sha256:")),
                          image->n_names ? image->names[0] : "<none>", format_bytes(cli->arena, image->bytes),
                          format_bytes(cli->arena, image->shared_bytes),
                          format_bytes(cli->arena, image->bytes - image->shared_bytes), number(cli, image->users),
                          format_age(cli->arena, (int64_t) image->pulled * 1000000000, now),
                          format_age(cli->arena, (int64_t) image->used * 1000000000, now), NULL);
        }
        printf("\n");
        table_print(&t, stdout);
        table_done(&t);
}

static int run(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__ImageUsageRequest req = PROXMOXLXCRI__V1__IMAGE_USAGE_REQUEST__INIT;
        Proxmoxlxcri__V1__ImageUsageResponse *res = NULL;
        struct err err;

        if (cli_call(cli, "/proxmoxlxcri.v1.Admin/ImageUsage", &req.base,
                     &proxmoxlxcri__v1__image_usage_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        if (cli->json) {
                json_print(json_of_message(&res->base));
                return EXIT_FINE;
        }
        print_kinds(cli, res);
        if (args_has(args, "verbose"))
                print_images(cli, res);
        return EXIT_FINE;
}

const struct cli_verb verb_image_df = {
        .name = "image df",
        .args = "",
        .help = "Show what images take of the disk",
        .description = "Images: unpacked layers, and blobs as they came (kept layers, manifests, configs); active are "
                       "those that a container\nor a mount uses. RECLAIMABLE is what \"image prune --all\" gives back.",
        .options = options,
        .fn = run,
};
