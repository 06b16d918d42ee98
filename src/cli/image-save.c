/* SPDX-License-Identifier: Apache-2.0 */
/* image save - images into an archive or a folder. The daemon writes into what is opened here; a file gets its name
 * when it is complete, so nothing half is ever seen under it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "cli/new-file.h"
#include "cli/pull.h"
#include "cli/verbs.h"

enum { EMPTY_TRIES = 100, EMPTY_WAIT_MS = 20 };

static const struct cli_option options[] = {
        { 'o', "file", "FILE", "where to, a folder with --format oci-dir (default: standard output)" },
        { 0, "format", "FORMAT", "oci-archive (default), oci-dir or docker-archive" },
        { 'q', "quiet", NULL, "no progress" },
        { 0 },
};

/* @ret_made: it was not there. */
static int open_folder(const char *path, int *ret, bool *ret_made, struct err *err) {
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *e;

        *ret_made = mkdir(path, 0755) == 0;
        if (!*ret_made && errno != EEXIST)
                return err_sys(err, errno, "create folder %.300s", path);
        *ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        d = *ret < 0 ? NULL : opendir(path);
        if (!d)
                return err_sys(err, errno, "open folder %.300s", path);
        while ((e = readdir(d)))
                if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
                        return err_set(err, ERR_PRECONDITION, "folder %.300s is not empty", path);
        return 0;
}

/* The daemon empties it; after an interruption it does not tell when it has. */
static void remove_folder(const char *path) {
        for (unsigned i = 0; rmdir(path) < 0 && errno == ENOTEMPTY && i < EMPTY_TRIES; i++)
                (void) usleep(EMPTY_WAIT_MS * 1000);
}

static int save(struct cli *cli, const struct transfer *t, Proxmoxlxcri__V1__SaveImagesRequest *req, const char *path,
                struct err *err) {
        _cleanup_(output_done) struct output out = OUTPUT_NONE;
        _cleanup_(fd_closep) int folder = -1;
        struct transfer_result result;
        bool made = false;
        int r = 0;

        req->descriptor = STDOUT_FILENO;
        if (req->folder) {
                r = open_folder(path, &folder, &made, err);
                req->descriptor = folder;
        } else if (path) {
                r = output_open(&out, path, err);
                req->descriptor = out.fd;
        }
        if (r < 0)
                return r;
        cli_catch_signals();
        r = cli_transfer(cli, t, &result, err);
        if (r < 0 && made)
                remove_folder(path);
        return r == 0 ? output_keep(&out, err) : r;
}

static int run(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__SaveImagesRequest req = PROXMOXLXCRI__V1__SAVE_IMAGES_REQUEST__INIT;
        const char *file = args_value(args, "file"), *format = args_value(args, "format") ?: "oci-archive";
        const char *path = str_eq(file, "-") ? NULL : file;
        const struct transfer t = { .method = "/proxmoxlxcri.v1.Admin/SaveImages",
                                    .request = &req.base,
                                    .name = path ?: args->rest[0],
                                    .quiet = args_has(args, "quiet") };
        struct err err;

        req.folder = str_eq(format, "oci-dir");
        req.docker = str_eq(format, "docker-archive");
        if (!req.folder && !req.docker && !str_eq(format, "oci-archive"))
                return cli_usage(&verb_image_save, "--format is oci-archive, oci-dir or docker-archive, not \"%.64s\"",
                                 format);
        if (!path && (req.folder || isatty(STDOUT_FILENO)))
                return cli_usage(&verb_image_save, "where to? (-o)");
        req.images = (char **) (uintptr_t) args->rest;
        req.n_images = args->n_rest;
        if (save(cli, &t, &req, path, &err) < 0)
                return cli_interrupted() ? 130 : cli_fail(&err);
        return EXIT_FINE;
}

const struct cli_verb verb_image_save = {
        .name = "image save",
        .args = "IMAGE...",
        .help = "Write images into an archive or a folder",
        .description = "As an OCI image layout, byte for byte as they came, so digests stay what they are: for "
                       "\"podman load\", "
                       "Skopeo\n"
                       "(oci-archive:, oci:) and Proxmox VE 9.1, which takes an archive of one image as a template "
                       "(\".tar\"). With\n"
                       "--format docker-archive as \"docker load\" takes it. The file gets its name when it is "
                       "complete.",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = 256,
};
