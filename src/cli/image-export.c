/* SPDX-License-Identifier: Apache-2.0 */
/* image export - an image's files, without its config, as something else. The image is mounted read-only meanwhile;
 * what is made has its name only once it is complete. */
#include "cli/image-export.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "cli/archive-out.h"
#include "cli/brief-mount.h"
#include "cli/json.h"
#include "cli/new-file.h"
#include "cli/verbs.h"
#include "image/tree-copy.h"

static const struct cli_option options[] = {
        { 'f', "format", "FORMAT",
          "tar, tar.gz, tar.zst, rootfs-dir, ext4, squashfs, zfs, proxmox-template or lxc-template (default: by the "
          "name of OUT)" },
        { 'o', "file", "OUT", "where to: a file; a folder (rootfs-dir, lxc-template); a dataset (zfs)" },
        { 0, "size", "SIZE", "of an ext4 image, as \"4G\" (default: what the files need, and some room)" },
        { 0 },
};

void export_tell_skipped(const char *path, const char *why, void *userdata) {
        _cleanup_(freep) char *shown = xstrdup(path);

        (void) userdata;
        str_make_printable(shown, "");
        fprintf(stderr, "proxmox-lxcri: left out: %s: %s\n", shown, why);
}

/* --- formats ------------------------------------------------------------------------------------------------------ */

static int export_archive(struct export *e, int fd, enum archive_compression how, struct err *err) {
        _cleanup_(archive_out_freep) struct archive_out *out = archive_out_new(fd, how);
        const struct tar_tree_args args = {
                .root_fd = e->root_fd, .write = archive_out_write, .skipped = export_tell_skipped, .userdata = out
        };
        int r = tar_tree(&args, err);

        return r == 0 ? archive_out_end(out, err) : r;
}

static int export_tar(struct export *e, int fd, const char *path, struct err *err) {
        (void) path;
        return export_archive(e, fd, ARCHIVE_PLAIN, err);
}

static int export_tar_gz(struct export *e, int fd, const char *path, struct err *err) {
        (void) path;
        return export_archive(e, fd, ARCHIVE_GZIP, err);
}

static int export_tar_zst(struct export *e, int fd, const char *path, struct err *err) {
        (void) path;
        return export_archive(e, fd, ARCHIVE_ZSTD, err);
}

static bool is_interrupted(const char *path, void *userdata) {
        (void) path;
        (void) userdata;
        return cli_interrupted();
}

static int export_folder(struct export *e, int fd, const char *path, struct err *err) {
        const struct tar_tree_args args = { .root_fd = e->root_fd,
                                            .leave_out = is_interrupted,
                                            .skipped = export_tell_skipped };
        int r = tree_copy(&args, fd, err);

        (void) path;
        return r == 0 && cli_interrupted() ? err_set(err, ERR_CANCELLED, "interrupted") : r;
}

static int export_to_zfs(struct export *e, int fd, const char *path, struct err *err) {
        (void) fd;
        (void) path;
        return export_zfs(e, err);
}

static const struct export_format formats[] = {
        { "tar", ".tar", "", true, false, export_tar },
        { "tar.gz", ".tar.gz", "", true, false, export_tar_gz },
        { "tar.zst", ".tar.zst", "", true, false, export_tar_zst },
        { "rootfs-dir", NULL, "", false, true, export_folder },
        { "ext4", ".ext4", "", false, false, export_ext4 },
        { "squashfs", ".squashfs", "", false, false, export_squashfs },
        { "zfs", NULL, "", false, false, export_to_zfs },
        { "proxmox-template", NULL, "", false, false, export_proxmox_template, export_template_prepare },
        { "lxc-template", NULL, "", false, true, export_lxc_template, export_template_prepare },
};

static const struct export_format *find_format(const char *name, const char *out) {
        for (size_t i = 0; i < ELEMENTSOF(formats); i++)
                if (name ? str_eq(formats[i].name, name)
                         : out && formats[i].suffix && str_ends_with(out, formats[i].suffix))
                        return &formats[i];
        return NULL;
}

/* --- where to ----------------------------------------------------------------------------------------------------- */

static bool is_zfs(const struct export *e) {
        return str_eq(e->format->name, "zfs");
}

/* Beside OUT. */
static char *half_made_name(const struct export *e) {
        _cleanup_(freep) char *copy = xstrdup(e->out), *other = xstrdup(e->out);

        return xprintf("%s/.%s.%d.part", dirname(copy), basename(other), (int) getpid());
}

static int write_file(struct export *e, struct err *err) {
        _cleanup_(output_done) struct output out = OUTPUT_NONE;
        int r = output_open(&out, e->out, err);

        if (r == 0 && !out.is_new && !e->format->to_stdout)
                r = err_set(err, ERR_PRECONDITION, "%.300s is no file", e->out);
        if (r == 0) {
                _cleanup_(freep) char *path = xprintf("/proc/%d/fd/%d", (int) getpid(), out.fd);

                r = e->format->write(e, out.fd, path, err);
        }
        return r == 0 ? output_keep(&out, err) : r;
}

static int write_folder(struct export *e, const char *half_made, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        struct err later;
        int r;

        if (mkdir(half_made, 0755) < 0)
                return err_sys(err, errno, "create folder %.300s", half_made);
        fd = open(half_made, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = fd < 0 ? err_sys(err, errno, "open folder %.300s", half_made) : e->format->write(e, fd, half_made, err);
        if (r == 0 && syncfs(fd) < 0)
                r = err_sys(err, errno, "write %.300s", half_made);
        if (r == 0 && rename(half_made, e->out) < 0)
                r = errno == ENOTEMPTY || errno == EEXIST
                            ? err_set(err, ERR_EXISTS, "folder %.300s is not empty", e->out)
                            : err_sys(err, errno, "name %.300s", e->out);
        if (r < 0 && fs_remove_tree(AT_FDCWD, half_made, &later) < 0)
                (void) cli_fail(&later);
        return r;
}

static int export(struct export *e, struct err *err) {
        _cleanup_(brief_mount_done) struct brief_mount mount = { 0 };
        _cleanup_(freep) char *half_made = e->out && e->format->is_folder ? half_made_name(e) : NULL;
        int r = brief_mount(&mount, e->cli, e->image, half_made, err);

        if (r < 0)
                return r;
        e->root_fd = mount.fd;
        e->path = mount.path;
        if (!e->out)
                return e->format->write(e, STDOUT_FILENO, NULL, err);
        if (is_zfs(e))
                return e->format->write(e, -1, NULL, err);
        return half_made ? write_folder(e, half_made, err) : write_file(e, err);
}

/* Into a folder, under a name that says what it is. */
static bool is_to_be_named(const struct export *e) {
        struct stat st;

        return str_eq(e->format->name, "proxmox-template") &&
               (!e->out || (stat(e->out, &st) == 0 && S_ISDIR(st.st_mode)));
}

static int prepare_and_export(struct export *e, struct err *err) {
        int r = e->format->prepare ? e->format->prepare(e, err) : 0;

        if (r == 0 && is_to_be_named(e))
                e->out = arena_printf(e->cli->arena, "%s/%s", e->out ?: ".", export_template_name(e));
        return r == 0 ? export(e, err) : r;
}

static int run(struct cli *cli, const struct cli_args *args) {
        const char *format = args_value(args, "format"), *size = args_value(args, "size");
        struct export e = { .cli = cli, .image = args->rest[0], .out = args_value(args, "file"), .root_fd = -1 };
        struct err err;
        int r;

        if (str_eq(e.out, "-"))
                e.out = NULL;
        e.format = find_format(format, e.out);
        if (!e.format)
                return format ? cli_usage(&verb_image_export, "there is no format \"%.64s\"", format)
                              : cli_usage(&verb_image_export, "in which format? (--format)");
        if (size && (!str_to_bytes(size, &e.size_bytes) || !str_eq(e.format->name, "ext4")))
                return cli_usage(&verb_image_export, "--size is a size as \"4G\", of format ext4");
        if (!e.out && !is_to_be_named(&e) && (!e.format->to_stdout || isatty(STDOUT_FILENO)))
                return cli_usage(&verb_image_export, "where to? (-o)");
        cli_catch_signals();
        r = prepare_and_export(&e, &err);
        json_decref(e.spec);
        if (r < 0) {
                if (err.code == ERR_CANCELLED)
                        return 130;
                (void) err_wrap(&err, "export %.200s", e.image);
                return cli_fail(&err);
        }
        if (e.out && cli->json)
                json_print(json_pack("{s:s s:s}", "format", e.format->name, "path", e.out));
        else if (e.out)
                printf("%s\n", e.out);
        return EXIT_FINE;
}

const struct cli_verb verb_image_export = {
        .name = "image export",
        .args = "IMAGE",
        .help = "Write an image's files as an archive, a folder, a disk image or a template",
        .description =
                "The files alone, as a container finds them; \"image save\" keeps layers and config, too. What "
                "is made gets its name when it\n"
                "is complete; its path is printed. A template for Proxmox VE is called NAME_VERSION_ARCH.tar.zst "
                "where OUT is a folder (default:\n"
                "here). docs/images.md has a table of formats.",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = 1,
};
