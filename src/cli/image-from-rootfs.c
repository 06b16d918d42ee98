/* SPDX-License-Identifier: Apache-2.0 */
/* image from-rootfs - an image of one layer out of a folder, an archive, a disk image or a dataset. What has a file
 * system in it is mounted in a mount namespace of our own, which ends with us; the daemon reads what is open here. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli/image-changes.h"
#include "cli/image-export.h"
#include "cli/pull.h"
#include "cli/verbs.h"

enum { MAGIC_BYTES = 2048, EXCLUDE_MAX = 256 };

static const struct cli_option options[] = {
        { 'c', "change", "INSTRUCTION",
          "of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR; may be "
          "repeated" },
        CLI_CHANGE_OPTIONS,
        { 0, "compression", "HOW", "of the new layer: gzip (default) or zstd" },
        { 'm', "message", "TEXT", "about it, in its history" },
        { 0, "exclude", "PATH",
          "leave this out, with all below (of folders, disk images and datasets); may be repeated" },
        { 'q', "quiet", NULL, "no progress" },
        { 0 },
};

struct source {
        const char *name;
        int fd;       /* what the daemon reads */
        char *folder; /* a file system is mounted there, in our own namespace */
        pid_t child;  /* which writes into fd; 0: none */
        const char *program;
        const char *exclude[EXCLUDE_MAX]; /* what they ask for, and one of ours */
        size_t n_exclude;
};

static void source_done(struct source *s) {
        (void) fd_close(s->fd);
        if (s->folder) {
                (void) umount2(s->folder, MNT_DETACH);
                (void) rmdir(s->folder);
        }
        if (s->child > 0) {
                (void) kill(s->child, SIGKILL);
                (void) waitpid(s->child, NULL, 0);
        }
        free(s->folder);
}

/* --- what has a file system in it ----------------------------------------------------------------------------------
 */

/* Of the source, or NULL. Nobody else sees what is mounted there, and it goes with this process, however that ends. */
static const char *make_folder(struct source *s, struct err *err) {
        char folder[] = "/tmp/proxmox-lxcri-rootfs.XXXXXX";

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                (void) err_sys(err, errno, "make a mount namespace");
        else if (!mkdtemp(folder))
                (void) err_sys(err, errno, "make a folder to mount on");
        else
                s->folder = xstrdup(folder);
        return s->folder;
}

static int open_mounted(struct source *s, struct err *err) {
        s->fd = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return s->fd < 0 ? err_sys(err, errno, "open what is mounted") : 0;
}

static int open_disk(struct source *s, const char *type, const char *how, struct err *err) {
        const char *const folder = make_folder(s, err);
        const char *const argv[] = { "mount", "-t", type, "-o", how, s->name, folder, NULL };
        int r;

        if (!folder)
                return -(int) err->code;
        r = export_run_program(argv, "mount", err);
        return r < 0 ? r : open_mounted(s, err);
}

static int open_ext4(struct source *s, struct err *err) {
        s->exclude[s->n_exclude++] = "lost+found";
        return open_disk(s, "ext4", "loop,ro,noload,nosuid,nodev,noexec", err);
}

static int open_squashfs(struct source *s, struct err *err) {
        return open_disk(s, "squashfs", "loop,ro,nosuid,nodev,noexec", err);
}

/* Without mount.zfs(8), which takes no dataset whose mountpoint is "legacy" as it takes the others. */
static int open_zfs(struct source *s, struct err *err) {
        const unsigned long how = MS_NOSUID | MS_NODEV | MS_NOEXEC;
        const char *const folder = make_folder(s, err);

        if (!folder)
                return -(int) err->code;
        if (mount(s->name, folder, "zfs", how | MS_RDONLY, NULL) == 0)
                return open_mounted(s, err);
        /* Mounted elsewhere, to be written to, it is so here, too, but for this mount's own flags. */
        if (errno == EBUSY && mount(s->name, folder, "zfs", how, NULL) == 0 &&
            mount(NULL, folder, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | how, NULL) == 0)
                return open_mounted(s, err);
        return errno == ENODEV ? err_set(err, ERR_PRECONDITION, "this kernel has no ZFS")
                               : err_sys(err, errno, "mount the dataset %.300s", s->name);
}

/* --- archives ------------------------------------------------------------------------------------------------------
 */

/* gzip and zstd the daemon knows itself. */
static int decompress(struct source *s, const char *program, const char *package, struct err *err) {
        const char *const argv[] = { program, "-dc", NULL };
        posix_spawn_file_actions_t actions;
        int pipe_fds[2], e;

        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return err_sys(err, errno, "make a pipe");
        (void) posix_spawn_file_actions_init(&actions);
        (void) posix_spawn_file_actions_adddup2(&actions, s->fd, 0);
        (void) posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 1);
        e = posix_spawnp(&s->child, program, &actions, NULL, (char *const *) (uintptr_t) argv, environ);
        (void) posix_spawn_file_actions_destroy(&actions);
        (void) close(pipe_fds[1]);
        (void) fd_close(s->fd);
        s->fd = pipe_fds[0];
        s->program = program;
        if (e == 0)
                return 0;
        s->child = 0;
        return e == ENOENT ? err_set(err, ERR_PRECONDITION, "%s is not installed: it is in the package %s", program,
                                     package)
                           : err_sys(err, e, "start %s", program);
}

/* Did all come that was to come? */
static int end_source(struct source *s, struct err *err) {
        int status = 0;

        if (s->child == 0)
                return 0;
        s->fd = fd_close(s->fd);
        while (waitpid(s->child, &status, 0) < 0 && errno == EINTR)
                continue;
        s->child = 0;
        return status == 0 ? 0 : err_set(err, ERR_DATA_LOSS, "%s failed: the archive is damaged", s->program);
}

/* --- which it is ---------------------------------------------------------------------------------------------------
 */

static bool has(const uint8_t *data, size_t len, size_t at, const void *magic, size_t n) {
        return at + n <= len && memcmp(data + at, magic, n) == 0;
}

static int open_file(struct source *s, struct err *err) {
        uint8_t magic[MAGIC_BYTES];
        ssize_t n = pread(s->fd, magic, sizeof(magic), 0);
        size_t len = n > 0 ? (size_t) n : 0;

        if (n < 0 && errno != ESPIPE)
                return err_sys(err, errno, "read %.300s", s->name);
        if (has(magic, len, 1024 + 56, "\x53\xef", 2)) {
                s->fd = fd_close(s->fd);
                return open_ext4(s, err);
        }
        if (has(magic, len, 0, "hsqs", 4)) {
                s->fd = fd_close(s->fd);
                return open_squashfs(s, err);
        }
        if (has(magic, len, 0,
                "\xfd"
                "7zXZ",
                5))
                return decompress(s, "xz", "xz-utils", err);
        return has(magic, len, 0, "BZh", 3) ? decompress(s, "bzip2", "bzip2", err) : 0;
}

/* A folder with rootfs.tar.xz in it is what lxc-create's template "local" takes. */
static int open_folder(struct source *s, struct err *err) {
        static const char *const names[] = { "rootfs.tar.xz", "rootfs.tar.gz", "rootfs.tar.zst", "rootfs.tar" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                int fd = faccessat(s->fd, "meta.tar.xz", F_OK, 0) == 0 || faccessat(s->fd, "meta.tar", F_OK, 0) == 0
                                 ? openat(s->fd, names[i], O_RDONLY | O_CLOEXEC)
                                 : -1;

                if (fd >= 0) {
                        (void) close(s->fd);
                        s->fd = fd;
                        return open_file(s, err);
                }
        }
        return 0;
}

static int open_source(struct source *s, struct err *err) {
        struct stat st;

        if (str_eq(s->name, "-")) {
                s->fd = dup(STDIN_FILENO);
                return s->fd < 0 ? err_sys(err, errno, "take the standard input") : 0;
        }
        if (str_after(s->name, "zfs:")) {
                s->name += strlen("zfs:");
                return open_zfs(s, err);
        }
        s->fd = open(s->name, O_RDONLY | O_CLOEXEC);
        if (s->fd < 0 || fstat(s->fd, &st) < 0)
                return err_sys(err, errno, "open %.300s", s->name);
        return S_ISDIR(st.st_mode) ? open_folder(s, err) : open_file(s, err);
}

/* --- the verb ------------------------------------------------------------------------------------------------------
 */

static int remove_image(struct cli *cli, const char *id) {
        Runtime__V1__RemoveImageRequest req = RUNTIME__V1__REMOVE_IMAGE_REQUEST__INIT;
        Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
        Runtime__V1__RemoveImageResponse *res;
        struct err ignored;

        spec.image = (char *) (uintptr_t) id;
        req.image = &spec;
        return cli_call(cli, "/runtime.v1.ImageService/RemoveImage", &req.base,
                        &runtime__v1__remove_image_response__descriptor, CLI_TIMEOUT_MS, &res, &ignored);
}

static int name_image(struct cli *cli, const char *id, char *name, struct err *err) {
        Proxmoxlxcri__V1__TagImageRequest req = PROXMOXLXCRI__V1__TAG_IMAGE_REQUEST__INIT;
        Proxmoxlxcri__V1__TagImageResponse *res;

        req.image = (char *) (uintptr_t) id;
        req.names = &name;
        req.n_names = 1;
        return cli_call(cli, "/proxmoxlxcri.v1.Admin/TagImage", &req.base,
                        &proxmoxlxcri__v1__tag_image_response__descriptor, CLI_TIMEOUT_MS, &res, err);
}

/* That all has come is known to us alone where a program decompresses: only then is a name taken from another image. */
static int import(struct cli *cli, struct source *s, Proxmoxlxcri__V1__ImportImageRequest *req, bool quiet,
                  struct transfer_result *ret, struct err *err) {
        const struct transfer t = {
                .method = "/proxmoxlxcri.v1.Admin/ImportImage", .request = &req->base, .name = s->name, .quiet = quiet
        };
        char *name = req->n_names > 0 ? req->names[0] : NULL;
        int r = open_source(s, err);

        if (r < 0)
                return r;
        if (s->child > 0)
                req->n_names = 0;
        req->descriptor = s->fd;
        req->exclude = (char **) (uintptr_t) s->exclude;
        req->n_exclude = s->n_exclude;
        r = cli_transfer(cli, &t, ret, err);
        if (r < 0 || s->child == 0)
                return r;
        r = end_source(s, err);
        if (r == 0 && name)
                r = name_image(cli, ret->image_id, name, err);
        if (r < 0)
                (void) remove_image(cli, ret->image_id);
        return r;
}

static int run(struct cli *cli, const struct cli_args *args) {
        Proxmoxlxcri__V1__ImportImageRequest req = PROXMOXLXCRI__V1__IMPORT_IMAGE_REQUEST__INIT;
        _cleanup_(source_done) struct source s = { .name = args->rest[0], .fd = -1 };
        struct image_changes *changes = arena_new_of(cli->arena, struct image_changes);
        char *names[] = { (char *) (uintptr_t) args->rest[1] };
        struct transfer_result result;
        const char *text;
        struct err err;

        changes->arena = cli->arena;
        for (size_t it = 0; (text = args_next(args, "change", &it));)
                if (changes_of_instruction(changes, text, &err) < 0)
                        return cli_usage(&verb_image_from_rootfs, "%s", err.msg);
        if (changes_of_options(changes, args, &err) < 0 || changes_zstd(args, &req.zstd, &err) < 0)
                return cli_usage(&verb_image_from_rootfs, "%s", err.msg);
        for (size_t it = 0; (text = args_next(args, "exclude", &it));) {
                if (s.n_exclude == EXCLUDE_MAX - 1)
                        return cli_usage(&verb_image_from_rootfs, "more than %d paths to leave out", EXCLUDE_MAX - 1);
                s.exclude[s.n_exclude++] = text;
        }
        req.names = names;
        req.n_names = args->n_rest - 1;
        req.changes = changes->list;
        req.n_changes = changes->n;
        req.comment = (char *) (uintptr_t) (args_value(args, "message") ?: "");
        cli_catch_signals();
        if (import(cli, &s, &req, args_has(args, "quiet"), &result, &err) < 0)
                return cli_interrupted() ? 130 : cli_fail(&err);
        return cli_print_image(cli, &result);
}

const struct cli_verb verb_image_from_rootfs = {
        .name = "image from-rootfs",
        .args = "SOURCE [NAME]",
        .help = "Make an image of one layer out of files",
        .description = "SOURCE is a folder; a tar archive (also with gzip, zstd, xz, bzip2), which Proxmox's templates "
                       "are; LXC's (a folder with\n"
                       "meta.tar.xz and rootfs.tar.xz); a file with ext4 or squashfs in it; \"zfs:DATASET\" or "
                       "\"zfs:DATASET@SNAPSHOT\"; or \"-\": an\n"
                       "archive on standard input. Prints the id, as \"podman import\". Disk images are mounted: the "
                       "kernel reads them, so take those\n"
                       "alone whose maker you trust.",
        .options = options,
        .fn = run,
        .min_args = 1,
        .max_args = 2,
};
