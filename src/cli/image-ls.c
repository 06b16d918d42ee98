/* SPDX-License-Identifier: Apache-2.0 */
/* image ls - images, a line for each name. */
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "cli/cri.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 'q', "quiet", NULL, "ids only" },
        { 0 },
};

/* "host/path" and "tag" of "host:port/path:tag" or "host/path@sha256:...". */
static void split(struct arena *a, const char *ref, const char **ret_name, const char **ret_tag) {
        const char *at = strchr(ref, '@'), *slash = strrchr(ref, '/'), *colon = strrchr(ref, ':');

        if (!at && colon && (!slash || colon > slash))
                at = colon;
        *ret_name = at ? arena_strndup(a, ref, (size_t) (at - ref)) : ref;
        *ret_tag = at && *at == ':' ? at + 1 : "";
}

static void add_rows(struct cli *cli, struct table *t, const Runtime__V1__Image *image) {
        const char *name = "", *tag = "";

        for (size_t i = 0; i < image->n_repo_tags; i++) {
                split(cli->arena, image->repo_tags[i], &name, &tag);
                table_add(t, name, tag, format_id(cli->arena, image->id), format_bytes(cli->arena, image->size), NULL);
        }
        if (image->n_repo_tags > 0)
                return;
        if (image->n_repo_digests > 0)
                split(cli->arena, image->repo_digests[0], &name, &tag);
        table_add(t, name, "(digest)", format_id(cli->arena, image->id), format_bytes(cli->arena, image->size), NULL);
}

static int run(struct cli *cli, const struct cli_args *args) {
        Runtime__V1__ListImagesRequest req = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
        Runtime__V1__ImageFilter filter = RUNTIME__V1__IMAGE_FILTER__INIT;
        Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
        Runtime__V1__ListImagesResponse *res;
        struct table t;
        struct err err;

        if (args->n_rest == 1) {
                spec.image = (char *) (uintptr_t) args->rest[0];
                filter.image = &spec;
                req.filter = &filter;
        }
        if (cli_call(cli, "/runtime.v1.ImageService/ListImages", &req.base,
                     &runtime__v1__list_images_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        if (cli->json && !args_has(args, "quiet")) {
                json_print(json_of_messages(res->images, res->n_images));
                return EXIT_FINE;
        }
        table_init(&t, cli->arena, "IMAGE", "TAG", "IMAGE ID", "SIZE", NULL);
        for (size_t i = 0; i < res->n_images; i++) {
                if (args_has(args, "quiet"))
                        printf("%s\n", res->images[i]->id);
                else
                        add_rows(cli, &t, res->images[i]);
        }
        if (!args_has(args, "quiet"))
                table_print(&t, stdout);
        table_done(&t);
        return EXIT_FINE;
}

const struct cli_verb verb_image_ls = {
        .name = "image ls",
        .args = "[IMAGE]",
        .help = "List images",
        .description = "With -o json: the CRI's Image messages.",
        .options = options,
        .fn = run,
        .max_args = 1,
};
