/* SPDX-License-Identifier: Apache-2.0 */
/* image copy - from one registry to another. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "cli/credentials.h"
#include "cli/image-digest.h"
#include "cli/pull.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 'a', "all", NULL, "the whole index with its builds for all platforms (default: this machine's)" },
        { 'q', "quiet", NULL, "no progress" },
        { 0, "src-creds", "USER[:PASSWORD]", "for the source; without PASSWORD it is taken from $REGISTRY_PASSWORD" },
        { 0, "dest-creds", "USER[:PASSWORD]", "for the destination" },
        { 0, "authfile", "FILE", "credentials for both (default: those of \"image login\", Podman and Docker)" },
        { 0, "src-authfile", "FILE", "credentials for the source" },
        { 0, "dest-authfile", "FILE", "credentials for the destination" },
        CLI_DIGESTFILE_OPTION,
        { 0 },
};

/* As Skopeo writes it, too. */
static const char *without_transport(const char *reference) {
        return str_after(reference, "docker://") ?: reference;
}

static int run(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__CopyRequest req = PROXMOXLXCRI__V1__COPY_REQUEST__INIT;
        Proxmoxlxcri__V1__Credentials from, to;
        const char *file = args_value(args, "authfile"), *source = without_transport(args->rest[0]),
                   *destination = without_transport(args->rest[1]);
        const struct transfer t = { .method = "/proxmoxlxcri.v1.Admin/CopyImage",
                                    .request = &req.base,
                                    .name = destination,
                                    .quiet = args_has(args, "quiet"),
                                    .sends = true };
        struct transfer_result result;
        struct err err;

        req.source = (char *) (uintptr_t) source;
        req.destination = (char *) (uintptr_t) destination;
        req.source_credentials = &from;
        req.destination_credentials = &to;
        req.all = args_has(args, "all");
        cli_catch_signals();
        if (cli_credentials_from(cli, args_value(args, "src-creds"), args_value(args, "src-authfile") ?: file, source,
                                 &from, &err) < 0 ||
            cli_credentials_from(cli, args_value(args, "dest-creds"), args_value(args, "dest-authfile") ?: file,
                                 destination, &to, &err) < 0 ||
            cli_transfer(cli, &t, &result, &err) < 0)
                return cli_interrupted() ? 130 : cli_fail(&err);
        return image_digest_tell(cli, args, destination, result.digest);
}

const struct cli_verb verb_image_copy = {
        .name = "image copy",
        .args = "SOURCE DESTINATION",
        .help = "Copy an image from one registry to another",
        .description =
                "Nothing is kept on this node, and what is copied stays what it is: manifests are byte for byte the "
                "same, so are their\n"
                "digests. Within one registry nothing travels. The signature policy is asked as for a pull of it. "
                "Prints the digest. With -o json: {reference, digest}.",
        .options = options,
        .fn = run,
        .min_args = 2,
        .max_args = 2,
};
