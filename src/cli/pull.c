/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pull.h"

#include <stdio.h>
#include "base/str.h"
#include "cli/credentials.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "proto/message.h"

struct follower {
        struct cli *cli;
        struct progress progress;
        bool quiet;
        struct transfer_result *result;
};

static int each(const ProtobufCMessage *message, void *userdata) {
        const Proxmoxlxcri__V1__PullProgress *m = (const Proxmoxlxcri__V1__PullProgress *) message;
        struct follower *f = userdata;

        if (!f->quiet)
                progress_show(&f->progress, m, clock_monotonic_ns());
        if (!str_empty(m->image_id))
                f->result->image_id = arena_strdup(f->cli->arena, m->image_id);
        if (!str_empty(m->digest))
                f->result->digest = arena_strdup(f->cli->arena, m->digest);
        if (m->n_loaded) {
                ProtobufCMessage *copy;
                struct err err;

                if (proto_copy(message, f->cli->arena, &copy, &err) < 0)
                        return -(int) err.code;
                f->result->loaded = ((Proxmoxlxcri__V1__PullProgress *) copy)->loaded;
                f->result->n_loaded = m->n_loaded;
        }
        return cli_interrupted();
}

int cli_transfer(struct cli *cli, const struct transfer *t, struct transfer_result *ret, struct err *err) {
        struct follower f = { .cli = cli, .quiet = t->quiet, .result = ret };
        int r = cli_connect(cli, err);

        *ret = (struct transfer_result){ 0 };
        if (r < 0)
                return r;
        progress_init(&f.progress, t->name);
        f.progress.sends = t->sends;
        r = grpc_client_stream(cli->client, t->method, t->request, &proxmoxlxcri__v1__pull_progress__descriptor,
                               cli->timeout_ms, each, &f, err);
        if (cli_interrupted())
                return err_set(err, ERR_CANCELLED, "%s: interrupted", t->name);
        if (r == 0 && !ret->image_id && !ret->digest && !ret->n_loaded)
                return err_set(err, ERR_INTERNAL, "%s: the daemon ended without an image", t->name);
        return r;
}

int pull_image(struct cli *cli, const struct pull_args *args, const char **ret_id, struct err *err) {
        Proxmoxlxcri__V1__PullRequest req = PROXMOXLXCRI__V1__PULL_REQUEST__INIT;
        const struct transfer t = { .method = "/proxmoxlxcri.v1.Admin/PullImage",
                                    .request = &req.base,
                                    .name = args->reference,
                                    .quiet = args->quiet };
        Proxmoxlxcri__V1__Credentials creds;
        struct transfer_result result;
        int r = cli_credentials(cli, args->options, args->reference, &creds, err);

        if (r < 0)
                return r;
        req.reference = (char *) (uintptr_t) args->reference;
        req.username = creds.username;
        req.password = creds.password;
        req.identity_token = creds.identity_token;
        req.registry_token = creds.registry_token;
        r = cli_transfer(cli, &t, &result, err);
        if (r == 0)
                *ret_id = result.image_id;
        return r;
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
        return r == 0 && !(*ret)->image
                       ? err_set(err, ERR_NOT_FOUND, "no image \"%.128s\": \"proxmox-lxcri image ls\" lists them",
                                 reference)
                       : r;
}

int cli_print_image(const struct cli *cli, const struct transfer_result *made) {
        if (cli->json)
                json_print(json_pack("{s:s}", "id", made->image_id));
        else
                printf("%s\n", made->image_id);
        return EXIT_FINE;
}
