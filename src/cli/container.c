/* SPDX-License-Identifier: Apache-2.0 */
/* container start, stop, set-image - what an administrator does with single containers of pods. */
#include <stdio.h>
#include "base/str.h"
#include "cli/cri.h"
#include "cli/json.h"
#include "cli/verbs.h"
#include "proto/admin.pb-c.h"

enum { GRACE_S = 10 };

static int start(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__StartContainerRequest req = PROXMOXLXCRI__V1__START_CONTAINER_REQUEST__INIT;
        Proxmoxlxcri__V1__StartContainerResponse *res;
        struct err err;

        req.container = (char *) (uintptr_t) args->rest[0];
        if (cli_call(cli, "/proxmoxlxcri.v1.Admin/StartContainer", &req.base,
                     &proxmoxlxcri__v1__start_container_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        return EXIT_FINE;
}

const struct cli_verb verb_container_start = {
        .name = "container start",
        .args = "CONTAINER",
        .help = "Start a container that has ended, with what it has written",
        .description =
                "By its id or the beginning of it (\"pod ps -a\"). The kubelet makes a new one instead, where it "
                "manages the pod.",
        .options = CLI_NO_OPTIONS,
        .fn = start,
        .min_args = 1,
        .max_args = 1,
};

static const struct cli_option stop_options[] = {
        { 't', "time", "SECONDS", "until it is killed (default: 10)" },
        { 0 },
};

static int stop(struct cli *cli, const struct cli_args *args) {
        Runtime__V1__StopContainerRequest req = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT;
        const char *time = args_value(args, "time");
        Runtime__V1__StopContainerResponse *res;
        struct err err;

        req.container_id = (char *) (uintptr_t) args->rest[0];
        req.timeout = GRACE_S;
        if (time && (!str_to_i64(time, &req.timeout) || req.timeout < 0))
                return cli_usage(&verb_container_stop, "\"%.64s\" is no number of seconds", time);
        if (cli_call(cli, "/runtime.v1.RuntimeService/StopContainer", &req.base,
                     &runtime__v1__stop_container_response__descriptor,
                     CLI_TIMEOUT_MS + (uint64_t) MIN_OF(req.timeout, (int64_t) 1000000) * 1000, &res, &err) < 0)
                return cli_fail(&err);
        return EXIT_FINE;
}

const struct cli_verb verb_container_stop = {
        .name = "container stop",
        .args = "CONTAINER",
        .help = "Stop a container and leave its pod",
        .options = stop_options,
        .fn = stop,
        .min_args = 1,
        .max_args = 1,
};

static int set_image(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__SetContainerImageRequest req = PROXMOXLXCRI__V1__SET_CONTAINER_IMAGE_REQUEST__INIT;
        Proxmoxlxcri__V1__SetContainerImageResponse *res;
        struct err err;

        req.container = (char *) (uintptr_t) args->rest[0];
        req.image = (char *) (uintptr_t) args->rest[1];
        if (cli_call(cli, "/proxmoxlxcri.v1.Admin/SetContainerImage", &req.base,
                     &proxmoxlxcri__v1__set_container_image_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        if (cli->json)
                json_print(json_of_message(&res->base));
        else
                printf("%s\n", res->image_id);
        return EXIT_FINE;
}

const struct cli_verb verb_container_set_image = {
        .name = "container set-image",
        .args = "CONTAINER IMAGE",
        .help = "Give a container that has ended another image",
        .description = "Below what it has written, which stays, as its volumes do: \"container stop\", \"container "
                       "set-image\", \"container\n"
                       "start\". A file that it has changed hides the new image's. Prints the image's id.",
        .options = CLI_NO_OPTIONS,
        .fn = set_image,
        .min_args = 2,
        .max_args = 2,
};
