/* SPDX-License-Identifier: Apache-2.0 */
/* image verify - are images on disk as they came? */
#include <stdio.h>
#include "base/str.h"
#include "cli/credentials.h"
#include "cli/json.h"
#include "cli/pull.h"
#include "cli/verbs.h"

enum { TIMEOUT_MS = 24 * 3600 * 1000 };

static const struct cli_option options[] = {
        { 'r', "repair", NULL, "unpack or fetch anew what is damaged" },
        { 'v', "verbose", NULL, "show what is sound, too" },
        CLI_CREDENTIALS_OPTIONS,
        { 0 },
};

struct verify {
        struct cli *cli;
        bool verbose;
        json_t *list; /* NULL: lines */
        size_t n[4];  /* by state */
};

/* It may name files of the image. */
static const char *printable(struct cli *cli, const char *detail) {
        char *text = arena_strdup(cli->arena, detail);

        str_make_printable(text, "");
        return text;
}

static int show(const ProtobufCMessage *message, void *userdata) {
        static const char *const words[] = { "sound", "DAMAGED", "repaired", "unknown" };
        const Proxmoxlxcri__V1__ImageCheck *m = (const Proxmoxlxcri__V1__ImageCheck *) message;
        struct verify *v = userdata;
        size_t state = MIN_OF((size_t) m->state, ELEMENTSOF(words) - 1);

        v->n[state]++;
        if (v->list)
                (void) json_array_append_new(v->list, json_of_message(message));
        else if (state || v->verbose)
                printf("%-8s %-8s %s of %.19s%s%s\n", words[state], m->kind, m->digest, m->image,
                       str_empty(m->detail) ? "" : ": ", printable(v->cli, m->detail));
        return cli_interrupted() ? -1 : 0;
}

/* Where its layers come from is asked for what is not here, whatever the image is called. */
static int check(struct cli *cli, const struct cli_args *args, const Runtime__V1__Image *image, struct verify *v,
                 struct err *err) {
        Proxmoxlxcri__V1__VerifyImageRequest req = PROXMOXLXCRI__V1__VERIFY_IMAGE_REQUEST__INIT;
        Proxmoxlxcri__V1__Credentials creds;
        const char *from = image->n_repo_digests > 0 ? image->repo_digests[0] : NULL;
        int r = from ? cli_credentials(cli, args, from, &creds, err) : 0;

        req.image = image->id;
        req.repair = args_has(args, "repair");
        req.credentials = from ? &creds : NULL;
        return r == 0 ? grpc_client_stream(cli->client, "/proxmoxlxcri.v1.Admin/VerifyImage", &req.base,
                                           &proxmoxlxcri__v1__image_check__descriptor,
                                           cli->timeout_ms ? cli->timeout_ms : TIMEOUT_MS, show, v, err)
                      : r;
}

static int check_named(struct cli *cli, const struct cli_args *args, const char *name, struct verify *v,
                       struct err *err) {
        Runtime__V1__ImageStatusResponse *status;
        int r = find_image(cli, name, false, &status, err);

        return r == 0 ? check(cli, args, status->image, v, err) : r;
}

static bool is_gone(struct cli *cli, const char *id) {
        Runtime__V1__ImageStatusResponse *status;
        struct err err;

        return find_image(cli, id, false, &status, &err) == -ERR_NOT_FOUND;
}

/* One by one: each may be of another registry, which has credentials of its own. */
static int check_all(struct cli *cli, const struct cli_args *args, struct verify *v) {
        Runtime__V1__ListImagesRequest req = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
        Runtime__V1__ListImagesResponse *res;
        int status = EXIT_FINE;
        struct err err;

        if (cli_call(cli, "/runtime.v1.ImageService/ListImages", &req.base,
                     &runtime__v1__list_images_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        for (size_t i = 0; i < res->n_images && !cli_interrupted(); i++)
                if (check(cli, args, res->images[i], v, &err) < 0 && !is_gone(cli, res->images[i]->id))
                        status = cli_fail(&err);
        return status;
}

static int run(struct cli *cli, const struct cli_args *args) {
        struct verify v = { .cli = cli, .verbose = args_has(args, "verbose"), .list = cli->json ? json_array() : NULL };
        int status = EXIT_FINE;
        struct err err;

        if (args->n_rest == 0 && args_has(args, "creds"))
                return cli_usage(&verb_image_verify, "--creds are of one registry: name the images that are from it");
        cli_catch_signals();
        if (args->n_rest == 0)
                status = check_all(cli, args, &v);
        for (size_t i = 0; i < args->n_rest && !cli_interrupted(); i++)
                if (check_named(cli, args, args->rest[i], &v, &err) < 0)
                        status = cli_fail(&err);
        if (v.list)
                json_print(v.list);
        else
                printf("%zu checked, %zu damaged, %zu repaired, %zu could not be checked\n",
                       v.n[0] + v.n[1] + v.n[2] + v.n[3], v.n[1], v.n[2], v.n[3]);
        if (cli_interrupted())
                return 130;
        return v.n[1] || v.n[3] ? EXIT_FAILED : status;
}

const struct cli_verb verb_image_verify = {
        .name = "image verify",
        .args = "[IMAGE...]",
        .help = "Are images on disk as they came? Without names: all",
        .description = "Hashes manifests, configs and kept layers, and compares each unpacked layer with its archive, "
                       "which is "
                       "unpacked anew\n"
                       "for that (and fetched, when it is not kept). With --repair what is damaged is replaced, but "
                       "for a layer "
                       "that containers\n"
                       "use: remove them first. Exit status 1 when anything stays damaged, or can't be checked.",
        .options = options,
        .fn = run,
        .max_args = CLI_ARGS_MAX,
};
