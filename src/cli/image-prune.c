/* SPDX-License-Identifier: Apache-2.0 */
/* image prune - remove images that nothing needs. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/attr.h"
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
        { 0, "filter", "KEY=VALUE",
          "only label=KEY, label=KEY=VALUE, or without one: label!=... (may be repeated); until=24h, or a date: that "
          "came "
          "before" },
        { 0, "blobs", NULL, "no images, but layers as they came, compressed, which can be fetched again" },
        { 0 },
};

/* "24h", "2026-01-31", "2026-01-31T12:00:00", "...Z", "...+01:00", or seconds since 1970. Without a zone it is ours. */
static bool parse_until(const char *text, uint64_t *ret) {
        static const char *const formats[] = { "%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S" };
        uint64_t ms, now = clock_realtime_ns() / 1000000000;

        if (str_to_duration(text, &ms)) {
                *ret = now - ms / 1000;
                return true;
        }
        if (str_to_u64(text, ret))
                return *ret > 0;
        for (size_t i = 0; i < ELEMENTSOF(formats); i++) {
                struct tm tm = { .tm_isdst = -1 };
                const char *rest = strptime(text, formats[i], &tm), *end = rest;
                struct tm zone = { 0 };
                time_t s;

                if (rest && *rest)
                        end = strptime(rest, "%z", &zone);
                if (!end || *end)
                        continue;
                s = *rest ? timegm(&tm) - zone.tm_gmtoff : mktime(&tm);
                *ret = (uint64_t) s;
                return s > 0;
        }
        return false;
}

/* "label=...", "label!=..." and "until=..." */
static int parse_filters(struct cli *cli, const struct cli_args *args, char **labels, size_t *ret_n,
                         uint64_t *ret_until, struct err *err) {
        const char *filter;
        size_t n = 0;

        for (size_t it = 0; (filter = args_next(args, "filter", &it));) {
                const char *with = str_after(filter, "label="), *without = str_after(filter, "label!="),
                           *until = str_after(filter, "until=");

                if (until && !*ret_until && parse_until(until, ret_until))
                        continue;
                if (str_empty(with) && str_empty(without))
                        return err_set(err, ERR_INVALID,
                                       "--filter wants label=..., label!=... or, once, until= and a time like 24h or "
                                       "2026-01-31T12:00:00, not \"%.100s\"",
                                       filter);
                if (n == LABELS_MAX)
                        return err_set(err, ERR_INVALID, "more than %d filters", LABELS_MAX);
                labels[n++] = with ? (char *) (uintptr_t) with : arena_printf(cli->arena, "!%s", without);
        }
        *ret_n = n;
        return 0;
}

static bool agrees(const Proxmoxlxcri__V1__PruneImagesRequest *req) {
        char answer[16] = "";

        if (req->blobs)
                fprintf(stderr, "Remove all layers' blobs that can be fetched again? [y/N] ");
        else
                fprintf(stderr, "Remove all images that no container uses%s? [y/N] ",
                        req->all ? "" : " and that have no tag");
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
        if (res->blobs)
                printf("%llu layers' blobs%s\n", (unsigned long long) res->blobs, dry_run ? " would go" : "");
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
        if (parse_filters(cli, args, labels, &req.n_labels, &req.until, &err) < 0)
                return cli_usage(&verb_image_prune, "%s", err.msg);
        req.blobs = args_has(args, "blobs");
        if (req.blobs && (req.all || args_has(args, "filter")))
                return cli_usage(&verb_image_prune, "--blobs goes neither with --all nor with --filter");
        if (!req.dry_run && !args_has(args, "force")) {
                if (!isatty(STDIN_FILENO))
                        return cli_usage(&verb_image_prune, "nobody can be asked here: --force, or --dry-run");
                if (!agrees(&req))
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
