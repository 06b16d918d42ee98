/* SPDX-License-Identifier: Apache-2.0 */
/* pull - fetch an image with progress, for "image pull" and "pod run"; and what else moves images. */
#pragma once
#include "cli/cri.h"
#include "cli/options.h"

struct pull_args {
        const char *reference;
        const struct cli_args *options; /* with CLI_CREDENTIALS_OPTIONS */
        bool quiet;
};

/* A method of the daemon's that answers with PullProgress. */
struct transfer {
        const char *method;
        const ProtobufCMessage *request;
        const char *name; /* of what is moved, for people */
        bool quiet, sends;
};
struct transfer_result {
        const char *image_id, *digest; /* NULL: another is there */
        Proxmoxlxcri__V1__LoadedImage **loaded;
        size_t n_loaded;
};
_must_use_ int cli_transfer(struct cli *cli, const struct transfer *t, struct transfer_result *ret, struct err *err);
/* The end of a verb that makes an image: its id, as text or JSON. */
int cli_print_image(const struct cli *cli, const struct transfer_result *made);

_must_use_ int pull_image(struct cli *cli, const struct pull_args *args, const char **ret_id, struct err *err);
/* The image as the daemon has it. ERR_NOT_FOUND: it has not. */
_must_use_ int find_image(struct cli *cli, const char *reference, bool verbose, Runtime__V1__ImageStatusResponse **ret,
                          struct err *err);
