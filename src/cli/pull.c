/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pull.h"

#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "cli/progress.h"
#include "image/auth-file.h"
#include "image/ref.h"

struct follower {
        struct cli *cli;
        struct progress progress;
        bool quiet;
        const char *image_id;
};

static int each(const ProtobufCMessage *message, void *userdata) {
        const Proxmoxlxcri__V1__PullProgress *m = (const Proxmoxlxcri__V1__PullProgress *) message;
        struct follower *f = userdata;

        if (!f->quiet)
                progress_show(&f->progress, m, clock_monotonic_ns());
        if (!str_empty(m->image_id))
                f->image_id = arena_strdup(f->cli->arena, m->image_id);
        return cli_interrupted();
}

static int from_creds(struct cli *cli, const char *creds, struct image_auth *ret, struct err *err) {
        const char *colon = strchr(creds, ':');

        ret->username = arena_strndup(cli->arena, creds, colon ? (size_t) (colon - creds) : strlen(creds));
        ret->password = colon ? colon + 1 : getenv("REGISTRY_PASSWORD");
        return ret->password ? 0 : err_set(err, ERR_INVALID, "--creds without a password: set REGISTRY_PASSWORD");
}

static int find_credentials(struct cli *cli, const struct pull_args *args, struct image_auth *ret, struct err *err) {
        struct ref ref;
        int r;

        if (args->creds)
                return from_creds(cli, args->creds, ret, err);
        r = ref_parse(args->reference, cli->arena, &ref, err);
        if (r == 0)
                r = auth_files_find(auth_files_of_user(args->auth_file, cli->arena), ref_name(&ref, cli->arena),
                                    cli->arena, ret, err);
        return r < 0 ? r : 0;
}

/* What a message's field takes: never NULL. */
static char *field(const char *s) {
        return (char *) (uintptr_t) (s ?: "");
}

int pull_image(struct cli *cli, const struct pull_args *args, const char **ret_id, struct err *err) {
        Proxmoxlxcri__V1__PullRequest req = PROXMOXLXCRI__V1__PULL_REQUEST__INIT;
        struct follower f = { .cli = cli, .quiet = args->quiet };
        struct image_auth auth = { 0 };
        int r = find_credentials(cli, args, &auth, err);

        if (r == 0)
                r = cli_connect(cli, err);
        if (r < 0)
                return r;
        progress_init(&f.progress, args->reference);
        req.reference = field(args->reference);
        req.username = field(auth.username);
        req.password = field(auth.password);
        req.identity_token = field(auth.identity_token);
        req.registry_token = field(auth.registry_token);
        r = grpc_client_stream(cli->client, "/proxmoxlxcri.v1.Admin/PullImage", &req.base,
                               &proxmoxlxcri__v1__pull_progress__descriptor, cli->timeout_ms, each, &f, err);
        if (cli_interrupted())
                return err_set(err, ERR_CANCELLED, "pull %s: interrupted", args->reference);
        if (r < 0)
                return err_wrap(err, "pull %s", args->reference);
        if (!f.image_id)
                return err_set(err, ERR_INTERNAL, "pull %s: the daemon ended without an image", args->reference);
        *ret_id = f.image_id;
        return 0;
}

int find_image(struct cli *cli, const char *reference, bool verbose, Runtime__V1__ImageStatusResponse **ret,
               struct err *err) {
        Runtime__V1__ImageStatusRequest req = RUNTIME__V1__IMAGE_STATUS_REQUEST__INIT;
        Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
        int r;

        spec.image = (char *) (uintptr_t) reference;
        req.image = &spec;
        req.verbose = verbose;
        r = cli_call(cli, "/runtime.v1.ImageService/ImageStatus", &req.base,
                     &runtime__v1__image_status_response__descriptor, CLI_TIMEOUT_MS, ret, err);
        if (r == 0 && !(*ret)->image)
                *ret = NULL;
        return r;
}
