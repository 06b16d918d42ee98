/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pull.h"

#include "base/str.h"
#include "cli/credentials.h"
#include "cli/progress.h"

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

int pull_image(struct cli *cli, const struct pull_args *args, const char **ret_id, struct err *err) {
        Proxmoxlxcri__V1__PullRequest req = PROXMOXLXCRI__V1__PULL_REQUEST__INIT;
        struct follower f = { .cli = cli, .quiet = args->quiet };
        Proxmoxlxcri__V1__Credentials creds;
        int r = cli_credentials(cli, args->options, args->reference, &creds, err);

        if (r == 0)
                r = cli_connect(cli, err);
        if (r < 0)
                return r;
        progress_init(&f.progress, args->reference);
        req.reference = (char *) (uintptr_t) args->reference;
        req.username = creds.username;
        req.password = creds.password;
        req.identity_token = creds.identity_token;
        req.registry_token = creds.registry_token;
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
