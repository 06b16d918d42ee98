/* SPDX-License-Identifier: Apache-2.0 */
/* image-export - the formats of "image export", each by itself: a tree in, what somebody takes out. */
#pragma once
#include <jansson.h>
#include "cli/cli.h"

struct export {
        struct cli *cli;
        const struct export_format *format;
        const char *image;   /* as it was asked for */
        json_t *spec;        /* for a template: the image's config, as far as the daemon tells; owned */
        const char *out;     /* a path, a dataset; NULL: standard output */
        uint64_t size_bytes; /* of a disk image; 0: as large as it must be */
        const char *path;    /* where the tree is, */
        int root_fd;         /* and open */
};

struct export_format {
        const char *name, *suffix, *help;
        bool to_stdout; /* can it go there? */
        bool is_folder; /* OUT is a folder, new or empty; it is made beside it, under export_half_made() */
        /* Into @fd: a new file, or for a folder the folder, whose path, or the dataset's name, is @path. */
        int (*write)(struct export *e, int fd, const char *path, struct err *err);
        int (*prepare)(struct export *e, struct err *err); /* before anything else; NULL: there is nothing to do */
};

/* In image-export-disk.c. A program that is not there is ERR_PRECONDITION, with the package that has it. */
_must_use_ int export_run_program(const char *const *argv, const char *package, struct err *err);
int export_ext4(struct export *e, int fd, const char *path, struct err *err);
int export_squashfs(struct export *e, int fd, const char *path, struct err *err);
_must_use_ int export_zfs(struct export *e, struct err *err);
/* Of the tree: everything, names with "./" before them if wanted. */
struct tar_tree_args;
void export_tell_skipped(const char *path, const char *why, void *userdata);

/* In image-export-template.c. */
int export_lxc_template(struct export *e, int fd, const char *path, struct err *err);
int export_proxmox_template(struct export *e, int fd, const char *path, struct err *err);
/* Reads e->spec. */
_must_use_ int export_template_prepare(struct export *e, struct err *err);
/* "NAME_VERSION_ARCH.tar.zst", as Proxmox VE calls templates. In the arena. */
const char *export_template_name(const struct export *e);
