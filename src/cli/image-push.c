/* SPDX-License-Identifier: Apache-2.0 */
/* image push - a local image to a registry. */
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "cli/credentials.h"
#include "cli/image-digest.h"
#include "cli/json.h"
#include "cli/pull.h"
#include "cli/verbs.h"
#include "image/ref.h"

static const struct cli_option options[] = {
        { 'a', "all-tags", NULL, "all tags that this node has of the repository IMAGE" },
        { 'q', "quiet", NULL, "no progress" },
        CLI_DIGESTFILE_OPTION,
        CLI_CREDENTIALS_OPTIONS,
        { 0 },
};

/* As Podman writes it, too. */
static const char *without_transport(const char *reference) {
        return str_after(reference, "docker://") ?: reference;
}

/* Where its layers are to be had, should one not be kept here, with the user's credentials for that. */
static int find_origin(struct cli *cli, const struct cli_args *args, const Runtime__V1__Image *image,
                       Proxmoxlxcri__V1__PushRequest *req, Proxmoxlxcri__V1__Credentials *creds, struct err *err) {
        if (image->n_repo_digests == 0)
                return 0;
        req->origin = image->repo_digests[0];
        req->origin_credentials = creds;
        return cli_credentials_from(cli, NULL, args_value(args, "authfile"), req->origin, creds, err);
}

/* What is pushed to where it is called, is called that: an id would be a name on Docker Hub. */
static int check_name(struct cli *cli, const Runtime__V1__Image *image, const char *name, struct err *err) {
        struct ref ref;

        if (ref_parse(name, cli->arena, &ref, err) == 0)
                for (size_t i = 0; i < image->n_repo_tags; i++)
                        if (str_eq(image->repo_tags[i], ref_string(&ref, cli->arena)))
                                return 0;
        return err_set(err, ERR_INVALID, "\"%.300s\" is no tag of the image: say where to push it", name);
}

static int push(struct cli *cli, const struct cli_args *args, const char *image, const char *to,
                const char **ret_digest, struct err *err) {
        Proxmoxlxcri__V1__PushRequest req = PROXMOXLXCRI__V1__PUSH_REQUEST__INIT;
        const struct transfer t = { .method = "/proxmoxlxcri.v1.Admin/PushImage",
                                    .request = &req.base,
                                    .name = to,
                                    .quiet = args_has(args, "quiet"),
                                    .sends = true };
        Runtime__V1__ImageStatusResponse *status;
        Proxmoxlxcri__V1__Credentials creds, origin;
        struct transfer_result result;
        int r = find_image(cli, image, false, &status, err);

        if (r == 0 && str_eq(image, to))
                r = check_name(cli, status->image, image, err);
        if (r == 0)
                r = cli_credentials(cli, args, to, &creds, err);
        if (r == 0)
                r = find_origin(cli, args, status->image, &req, &origin, err);
        if (r < 0)
                return r;
        req.image = (char *) (uintptr_t) image;
        req.destination = (char *) (uintptr_t) to;
        req.credentials = &creds;
        r = cli_transfer(cli, &t, &result, err);
        *ret_digest = result.digest;
        return r;
}

/* Each tag of the repository; docker and nerdctl know it by this flag. */
static int push_all(struct cli *cli, const struct cli_args *args) {
        Runtime__V1__ListImagesRequest req = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
        Runtime__V1__ListImagesResponse *res;
        json_t *all = json_array();
        size_t n = 0, done = 0;
        const char *digest, *name;
        struct ref want, ref;
        struct err err;

        if (ref_parse(args->rest[0], cli->arena, &want, &err) < 0 ||
            cli_call(cli, "/runtime.v1.ImageService/ListImages", &req.base,
                     &runtime__v1__list_images_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                goto failed;
        name = ref_name(&want, cli->arena);
        for (size_t i = 0; i < res->n_images; i++)
                for (size_t j = 0; j < res->images[i]->n_repo_tags && !cli_interrupted(); j++) {
                        const char *tag = res->images[i]->repo_tags[j];

                        if (ref_parse(tag, cli->arena, &ref, &err) < 0 || !str_eq(ref_name(&ref, cli->arena), name))
                                continue;
                        n++;
                        if (push(cli, args, tag, tag, &digest, &err) < 0) {
                                (void) cli_fail(&err);
                                continue;
                        }
                        done++;
                        if (cli->json)
                                (void) json_array_append_new(
                                        all, json_pack("{s:s s:s}", "reference", tag, "digest", digest));
                        else
                                printf("%s %s\n", tag, digest);
                }
        if (n == 0) {
                (void) err_set(&err, ERR_NOT_FOUND, "no image here has a tag of %s", name);
                goto failed;
        }
        if (cli->json)
                json_print(all);
        else
                json_decref(all);
        return cli_interrupted() ? 130 : done == n ? EXIT_FINE : EXIT_FAILED;
failed:
        json_decref(all);
        return cli_interrupted() ? 130 : cli_fail(&err);
}

static int run(struct cli *cli, const struct cli_args *args) {
        const char *image = args->rest[0], *to = without_transport(args->rest[args->n_rest - 1]), *digest;
        struct err err;

        cli_catch_signals();
        if (args_has(args, "all-tags"))
                return args->n_rest > 1 || args_has(args, "digestfile")
                               ? cli_usage(&verb_image_push, "--all-tags goes with a repository alone")
                               : push_all(cli, args);
        if (push(cli, args, image, to, &digest, &err) < 0)
                return cli_interrupted() ? 130 : cli_fail(&err);
        return image_digest_tell(cli, args, to, digest);
}

const struct cli_verb verb_image_push = {
        .name = "image push",
        .args = "IMAGE [DESTINATION]",
        .help = "Send an image to a registry",
        .description = "Without DESTINATION, IMAGE is a name and says where to. The manifest stays what it is, and so "
                       "does its digest, which is\n"
                       "printed. What the registry has is not sent; a layer that is not kept on this node comes from "
                       "where the image came\n"
                       "from. With -o json: {reference, digest}, with --all-tags a list of them.",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = 2,
};
