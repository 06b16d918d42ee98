/* SPDX-License-Identifier: Apache-2.0 */
/* image mount, unmount - an image's files on the host. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/str.h"
#include "cli/cri.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "proto/admin.pb-c.h"

static int list(struct cli *cli) {
        Proxmoxlxcri__V1__ListMountsRequest req = PROXMOXLXCRI__V1__LIST_MOUNTS_REQUEST__INIT;
        Proxmoxlxcri__V1__ListMountsResponse *res;
        struct table t;
        struct err err;

        if (cli_call(cli, "/proxmoxlxcri.v1.Admin/ListMounts", &req.base,
                     &proxmoxlxcri__v1__list_mounts_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        if (cli->json) {
                json_print(json_of_messages(res->mounts, res->n_mounts));
                return EXIT_FINE;
        }
        table_init(&t, cli->arena, "IMAGE ID", "MODE", "PATH", NULL);
        for (size_t i = 0; i < res->n_mounts; i++)
                table_add(&t, format_id(cli->arena, res->mounts[i]->image_id),
                          !res->mounts[i]->mounted   ? "gone"
                          : res->mounts[i]->writable ? "rw"
                                                     : "ro",
                          res->mounts[i]->path, NULL);
        table_print(&t, stdout);
        table_done(&t);
        return EXIT_FINE;
}

static const struct cli_option mount_options[] = {
        { 0, "rw", NULL, "writable; what is written stays as long as the mount does" },
        { 0 },
};

static int mount_image(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__MountImageRequest req = PROXMOXLXCRI__V1__MOUNT_IMAGE_REQUEST__INIT;
        Proxmoxlxcri__V1__MountImageResponse *res;
        _cleanup_(freep) char *path = NULL;
        _cleanup_(fd_closep) int fd = -1;
        struct err err;

        if (args->n_rest == 0)
                return args_has(args, "rw") ? cli_usage(&verb_image_mount, "which image?") : list(cli);
        if (args->n_rest == 2) {
                path = realpath(args->rest[1], NULL);
                fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
                if (fd < 0) {
                        (void) err_sys(&err, errno, "open folder %.300s", args->rest[1]);
                        return cli_fail(&err);
                }
                req.path = path;
                req.folder = fd;
        }
        req.image = (char *) (uintptr_t) args->rest[0];
        req.writable = args_has(args, "rw");
        if (cli_call(cli, "/proxmoxlxcri.v1.Admin/MountImage", &req.base,
                     &proxmoxlxcri__v1__mount_image_response__descriptor, CLI_TIMEOUT_MS, &res, &err) < 0)
                return cli_fail(&err);
        if (cli->json)
                json_print(json_of_message(&res->base));
        else
                printf("%s\n", res->path);
        return EXIT_FINE;
}

const struct cli_verb verb_image_mount = {
        .name = "image mount",
        .args = "[IMAGE [PATH]]",
        .help = "Mount an image on the host, or list those that are",
        .description = "Read-only, at the folder PATH or at a new one, whose path is printed. It stays when the daemon "
                       "starts anew, until \"image\n"
                       "unmount\" or the machine's end.",
        .options = mount_options,
        .fn = mount_image,
        .max_args = 2,
};

static const struct cli_option unmount_options[] = {
        { 'a', "all", NULL, "all of them" },
        { 0 },
};

static int unmount_one(struct cli *cli, const char *what, struct err *err) {
        Proxmoxlxcri__V1__UnmountImageRequest req = PROXMOXLXCRI__V1__UNMOUNT_IMAGE_REQUEST__INIT;
        Proxmoxlxcri__V1__UnmountImageResponse *res;
        _cleanup_(freep) char *path = what[0] == '/' || what[0] == '.' ? realpath(what, NULL) : NULL;

        req.what = path ?: (char *) (uintptr_t) what;
        return cli_call(cli, "/proxmoxlxcri.v1.Admin/UnmountImage", &req.base,
                        &proxmoxlxcri__v1__unmount_image_response__descriptor, CLI_TIMEOUT_MS, &res, err);
}

static int unmount_images(struct cli *cli, const struct cli_args *args) {
        int status = EXIT_FINE;
        struct err err;

        if (args_has(args, "all") == (args->n_rest > 0))
                return cli_usage(&verb_image_unmount, args->n_rest > 0 ? "-a takes no names" : "which one? (or -a)");
        if (args_has(args, "all") && unmount_one(cli, "", &err) < 0)
                return cli_fail(&err);
        for (size_t i = 0; i < args->n_rest; i++)
                if (str_empty(args->rest[i]) || unmount_one(cli, args->rest[i], &err) < 0)
                        status = str_empty(args->rest[i]) ? cli_usage(&verb_image_unmount, "a name is empty")
                                                          : cli_fail(&err);
        return status;
}

const struct cli_verb verb_image_unmount = {
        .name = "image unmount",
        .args = "[PATH|IMAGE...]",
        .help = "Unmount what \"image mount\" has mounted",
        .description = "By the path, or all mounts of an image. What was written to a writable one is lost.",
        .options = unmount_options,
        .fn = unmount_images,
        .max_args = CLI_ARGS_MAX,
};
