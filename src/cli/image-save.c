/* SPDX-License-Identifier: Apache-2.0 */
/* image save - images into an archive or a folder. The daemon writes into what is opened here; a file gets its name
 * when it is complete, so nothing half is ever seen under it. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli/new-file.h"
#include "cli/pull.h"
#include "cli/verbs.h"

static const struct cli_option options[] = {
        { 'o', "file", "FILE", "where to, a folder with --format oci-dir (default: standard output)" },
        { 0, "format", "FORMAT", "oci-archive (default), oci-dir or docker-archive" },
        { 'q', "quiet", NULL, "no progress" },
        { 0 },
};

struct output {
        const char *path; /* NULL: standard output */
        int folder;       /* where the file is made; else -1 */
        struct new_file file;
        int fd;
};

static void output_done(struct output *o) {
        if (o->path && !o->file.temporary)
                (void) fd_close(o->fd);
        new_file_done(&o->file);
        (void) fd_close(o->folder);
}

static int open_file(struct output *o, struct err *err) {
        _cleanup_(freep) char *copy = xstrdup(o->path), *other = xstrdup(o->path);
        const char *folder = dirname(copy);
        int r;

        o->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (o->folder < 0)
                return err_sys(err, errno, "open folder %.300s", folder);
        r = new_file_open(&o->file, o->folder, basename(other), err);
        o->fd = o->file.fd;
        return r < 0 ? err_wrap(err, "in %.300s", folder) : 0;
}

static int keep_file(struct output *o, struct err *err) {
        _cleanup_(freep) char *other = xstrdup(o->path);

        return o->file.temporary ? new_file_keep(&o->file, o->folder, basename(other), true, err) : 0;
}

static int open_folder(struct output *o, struct err *err) {
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *e;

        if (mkdir(o->path, 0755) < 0 && errno != EEXIST)
                return err_sys(err, errno, "create folder %.300s", o->path);
        o->fd = open(o->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        d = o->fd < 0 ? NULL : opendir(o->path);
        if (!d)
                return err_sys(err, errno, "open folder %.300s", o->path);
        while ((e = readdir(d)))
                if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
                        return err_set(err, ERR_PRECONDITION, "folder %.300s is not empty", o->path);
        return 0;
}

static int run(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__SaveImagesRequest req = PROXMOXLXCRI__V1__SAVE_IMAGES_REQUEST__INIT;
        const char *file = args_value(args, "file"), *format = args_value(args, "format") ?: "oci-archive";
        _cleanup_(output_done) struct output out = { .path = str_eq(file, "-") ? NULL : file,
                                                     .folder = -1,
                                                     .fd = STDOUT_FILENO };
        const struct transfer t = { .method = "/proxmoxlxcri.v1.Admin/SaveImages",
                                    .request = &req.base,
                                    .name = out.path ?: args->rest[0],
                                    .quiet = args_has(args, "quiet") };
        struct transfer_result result;
        struct err err;
        int r = 0;

        req.folder = str_eq(format, "oci-dir");
        req.docker = str_eq(format, "docker-archive");
        if (!req.folder && !req.docker && !str_eq(format, "oci-archive"))
                return cli_usage(&verb_image_save, "--format is oci-archive, oci-dir or docker-archive, not \"%.64s\"",
                                 format);
        if (!out.path && (req.folder || isatty(STDOUT_FILENO)))
                return cli_usage(&verb_image_save, "where to? (-o)");
        if (out.path)
                r = req.folder ? open_folder(&out, &err) : open_file(&out, &err);
        if (r < 0)
                return cli_fail(&err);
        req.images = (char **) (uintptr_t) args->rest;
        req.n_images = args->n_rest;
        req.descriptor = out.fd;
        cli_catch_signals();
        if (cli_transfer(cli, &t, &result, &err) < 0 || (out.path && keep_file(&out, &err) < 0))
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
