/* SPDX-License-Identifier: Apache-2.0 */
/* image rm - remove images. */
#include <stdio.h>
#include "base/str.h"
#include "cli/credentials.h"
#include "cli/json.h"
#include "cli/pull.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 'a', "all", NULL, "every image that no container uses" },
        { 'f', "force", NULL, "images that are not there are no error" },
        { 0, "remote", NULL, "from their registries, with every tag that the manifest has; nothing here" },
        CLI_CREDENTIALS_OPTIONS,
        { 0 },
};

/* @list: NULL for a line. */
static void tell(json_t *list, const char *removed) {
        if (list)
                (void) json_array_append_new(list, json_string(removed));
        else
                printf("%s\n", removed);
}

static int remove_image(struct cli *cli, const char *id, json_t *list, struct err *err) {
        Runtime__V1__RemoveImageRequest req = RUNTIME__V1__REMOVE_IMAGE_REQUEST__INIT;
        Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
        Runtime__V1__RemoveImageResponse *res;
        int r;

        spec.image = (char *) (uintptr_t) id;
        req.image = &spec;
        r = cli_call(cli, "/runtime.v1.ImageService/RemoveImage", &req.base,
                     &runtime__v1__remove_image_response__descriptor, CLI_TIMEOUT_MS, &res, err);
        if (r == 0)
                tell(list, id);
        return r;
}

static int remove_named(struct cli *cli, const char *what, bool force, json_t *list, struct err *err) {
        Runtime__V1__ImageStatusResponse *res;
        int r = find_image(cli, what, false, &res, err);

        if (r == -ERR_NOT_FOUND && force)
                return 0;
        return r == 0 ? remove_image(cli, res->image->id, list, err) : r;
}

static int remove_remote(struct cli *cli, const struct cli_args *args, const char *what, json_t *list,
                         struct err *err) {
        Proxmoxlxcri__V1__RemoveRemoteImageRequest req = PROXMOXLXCRI__V1__REMOVE_REMOTE_IMAGE_REQUEST__INIT;
        Proxmoxlxcri__V1__RemoveRemoteImageResponse *res = NULL;
        Proxmoxlxcri__V1__Credentials creds;
        int r = cli_credentials(cli, args, what, &creds, err);

        req.reference = (char *) (uintptr_t) what;
        req.credentials = &creds;
        if (r == 0)
                r = cli_call(cli, "/proxmoxlxcri.v1.Admin/RemoveRemoteImage", &req.base,
                             &proxmoxlxcri__v1__remove_remote_image_response__descriptor, CLI_TIMEOUT_MS, &res, err);
        if (r == 0)
                tell(list, res->digest);
        return r == -ERR_NOT_FOUND && args_has(args, "force") ? 0 : r;
}

static int remove_all(struct cli *cli, json_t *list) {
        Proxmoxlxcri__V1__PruneImagesRequest req = PROXMOXLXCRI__V1__PRUNE_IMAGES_REQUEST__INIT;
        Proxmoxlxcri__V1__PruneImagesResponse *res = NULL;
        struct err err;

        req.all = true;
        if (cli_call(cli, "/proxmoxlxcri.v1.Admin/PruneImages", &req.base,
                     &proxmoxlxcri__v1__prune_images_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        for (size_t i = 0; i < res->n_images; i++)
                tell(list, res->images[i]->id);
        return EXIT_FINE;
}

static int run(struct cli *cli, const struct cli_args *args) {
        bool all = args_has(args, "all"), remote = args_has(args, "remote"), force = args_has(args, "force");
        int status = EXIT_FINE;
        json_t *list;
        struct err err;

        if (all == (args->n_rest > 0))
                return cli_usage(&verb_image_rm, all ? "-a takes no images" : "which image? (or -a)");
        if (all && remote)
                return cli_usage(&verb_image_rm, "--remote wants to be told which images");
        list = cli->json ? json_array() : NULL;
        if (all)
                status = remove_all(cli, list);
        for (size_t i = 0; i < args->n_rest; i++)
                if (remote ? remove_remote(cli, args, args->rest[i], list, &err) < 0
                           : remove_named(cli, args->rest[i], force, list, &err) < 0)
                        status = cli_fail(&err);
        if (list)
                json_print(list);
        return status;
}

const struct cli_verb verb_image_rm = {
        .name = "image rm",
        .args = "[IMAGE...]",
        .help = "Remove images, with all their names",
        .description =
                "Prints the ids of those that it has removed, with --remote the digests. -o json: a list of them.",
        .options = options,
        .fn = run,
        .max_args = CLI_ARGS_MAX,
};
