/* SPDX-License-Identifier: Apache-2.0 */
/* image load - images from an archive or a folder, which the daemon reads through what is opened here. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "cli/json.h"
#include "cli/pull.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 'i', "input", "FILE", "an archive, or the folder of an OCI image layout (default, and -: standard input)" },
        { 0, "platform", "OS/ARCH[/VARIANT]", "which of several builds, instead of this machine's" },
        { 't', "tag", "NAME", "one more name for the image; may be repeated" },
        { 'q', "quiet", NULL, "no progress" },
        { 0 },
};

enum { NAMES_MAX = 256 };

static void print(const struct cli *cli, const struct transfer_result *result) {
        if (cli->json) {
                json_print(json_of_messages(result->loaded, result->n_loaded));
                return;
        }
        for (size_t i = 0; i < result->n_loaded; i++) {
                const Proxmoxlxcri__V1__LoadedImage *image = result->loaded[i];

                for (size_t k = 0; k < image->n_names; k++)
                        printf("Loaded image: %s\n", image->names[k]);
                if (image->n_names == 0)
                        printf("Loaded image: %s\n", image->id);
        }
}

static int run(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__LoadImagesRequest req = PROXMOXLXCRI__V1__LOAD_IMAGES_REQUEST__INIT;
        const char *file = args_value(args, "input"), *names[NAMES_MAX];
        bool from_stdin = !file || str_eq(file, "-");
        const struct transfer t = { .method = "/proxmoxlxcri.v1.Admin/LoadImages",
                                    .request = &req.base,
                                    .name = from_stdin ? "load" : file,
                                    .quiet = args_has(args, "quiet") };
        _cleanup_(fd_closep) int fd = -1;
        struct transfer_result result;
        struct err err;
        int r;

        for (size_t it = 0; req.n_names < NAMES_MAX && (names[req.n_names] = args_next(args, "tag", &it));)
                req.n_names++;
        if (from_stdin && isatty(STDIN_FILENO))
                return cli_usage(&verb_image_load, "from where? (-i)");
        if (!from_stdin) {
                fd = open(file, O_RDONLY | O_CLOEXEC);
                if (fd < 0) {
                        (void) err_sys(&err, errno, "open %.300s", file);
                        return cli_fail(&err);
                }
        }
        req.descriptor = from_stdin ? STDIN_FILENO : fd;
        req.names = (char **) (uintptr_t) names;
        req.platform = (char *) (uintptr_t) args_value(args, "platform");
        cli_catch_signals();
        r = cli_transfer(cli, &t, &result, &err);
        if (r == 0 || result.n_loaded > 0)
                print(cli, &result);
        if (r < 0)
                return cli_interrupted() ? 130 : cli_fail(&err);
        return EXIT_FINE;
}

const struct cli_verb verb_image_load = {
        .name = "image load",
        .args = "",
        .help = "Make images from an archive or a folder",
        .description = "An OCI image layout, as a folder or an archive, or what \"docker save\" and \"podman save\" "
                       "write; archives may be\n"
                       "compressed with gzip or zstd. Images get the names that they have there, which move here from "
                       "others; of what is there\n"
                       "for several platforms this machine's is taken, or that of --platform. With -o json: a list of "
                       "{id, digest, names}. "
                       "When one image\nof several fails, those before it stay, and are printed.",
        .options = options,
        .fn = run,
};
