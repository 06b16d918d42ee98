/* SPDX-License-Identifier: Apache-2.0 */
/* image tag, untag, tags - names of images, here and in a registry. */
#include <stdio.h>
#include "base/str.h"
#include "cli/credentials.h"
#include "cli/json.h"
#include "cli/verbs.h"

/* @image: NULL takes the names away. */
static int change_names(struct cli *cli, const char *image, const char *const *names, size_t n) {
        Proxmoxlxcri__V1__TagImageRequest req = PROXMOXLXCRI__V1__TAG_IMAGE_REQUEST__INIT;
        Proxmoxlxcri__V1__TagImageResponse *res;
        struct err err;

        if (image)
                req.image = (char *) (uintptr_t) image;
        req.names = (char **) (uintptr_t) names;
        req.n_names = n;
        if (cli_call(cli, "/proxmoxlxcri.v1.Admin/TagImage", &req.base,
                     &proxmoxlxcri__v1__tag_image_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        return EXIT_FINE;
}

static int tag(struct cli *cli, const struct cli_args *args) {
        return change_names(cli, args->rest[0], args->rest + 1, args->n_rest - 1);
}

const struct cli_verb verb_image_tag = {
        .name = "image tag",
        .args = "IMAGE NAME...",
        .help = "Give an image more names",
        .description = "IMAGE is a name, an id or the beginning of one. A NAME that another image has moves here; "
                       "without a tag it gets\n"
                       "\"latest\", without a registry \"docker.io\".",
        .options = CLI_NO_OPTIONS,
        .fn = tag,
        .min_args = 2,
        .max_args = 257,
};

static int untag(struct cli *cli, const struct cli_args *args) {
        return change_names(cli, NULL, args->rest, args->n_rest);
}

const struct cli_verb verb_image_untag = {
        .name = "image untag",
        .args = "NAME...",
        .help = "Take names from images",
        .description = "All of them or, when one is no image's, none. An image without names stays; \"image rm\" "
                       "removes it by its id.",
        .options = CLI_NO_OPTIONS,
        .fn = untag,
        .min_args = 1,
        .max_args = 256,
};

static const struct cli_option tags_options[] = {
        CLI_CREDENTIALS_OPTIONS,
        { 0 },
};

static int tags(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__ListTagsRequest req = PROXMOXLXCRI__V1__LIST_TAGS_REQUEST__INIT;
        Proxmoxlxcri__V1__Credentials creds;
        Proxmoxlxcri__V1__ListTagsResponse *res = NULL;
        struct err err;

        req.repository = (char *) (uintptr_t) args->rest[0];
        req.credentials = &creds;
        if (cli_credentials(cli, args, args->rest[0], &creds, &err) < 0 ||
            cli_call(cli, "/proxmoxlxcri.v1.Admin/ListTags", &req.base,
                     &proxmoxlxcri__v1__list_tags_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        if (cli->json) {
                json_t *list = json_array();

                for (size_t i = 0; i < res->n_tags; i++)
                        (void) json_array_append_new(list, json_string(res->tags[i]));
                json_print(list);
                return EXIT_FINE;
        }
        for (size_t i = 0; i < res->n_tags; i++)
                printf("%s\n", res->tags[i]);
        return EXIT_FINE;
}

const struct cli_verb verb_image_tags = {
        .name = "image tags",
        .args = "REPOSITORY",
        .help = "List the tags that a registry has of a repository",
        .options = tags_options,
        .fn = tags,
        .min_args = 1,
        .max_args = 1,
};
