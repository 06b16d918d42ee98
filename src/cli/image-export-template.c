/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: what Proxmox VE makes containers of, and what lxc-create's template "local" does. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/archive-out.h"
#include "cli/image-export.h"
#include "cli/oci/programs.h"
#include "cli/pull.h"
#include "image/manifest.h"
#include "image/tar-tree.h"
#include "image/tar-write.h"
#include "init/app.h"
#include "pod/signals.h"

enum { OS_RELEASE_MAX = 64 * 1024, CONFIG_VALUES_MAX = 100000, INIT_MAX = 4 << 20 };

static const char *text_of(const json_t *o, const char *name) {
        return json_string_value(json_object_get(o, name)) ?: "";
}

int export_template_prepare(struct export *e, struct err *err) {
        Runtime__V1__ImageStatusResponse *res;
        _cleanup_(json_unrefp) json_t *info = NULL;
        const char *name;
        int r = find_image(e->cli, e->image, true, &res, err);

        if (r == 0 && res->n_info == 0)
                r = err_set(err, ERR_INTERNAL, "the daemon says nothing of its config");
        if (r == 0)
                r = json_load_bounded(res->info[0]->value, strlen(res->info[0]->value), CONFIG_VALUES_MAX, "its config",
                                      &info, err);
        if (r < 0)
                return r;
        e->spec = json_incref(json_object_get(info, "imageSpec"));
        name = text_of(e->spec, "architecture");
        return name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789")] /* it becomes part of names */
                       ? err_set(err, ERR_INVALID, "there is no architecture \"%.50s\"", name)
                       : 0;
}

/* The image's, in Go's words; of one that says none this machine's. */
static const char *go_architecture(const struct export *e) {
        const char *name = text_of(e->spec, "architecture");

        return *name ? name : platform_host()->arch;
}

/* As Proxmox VE and LXC call it. */
static const char *architecture(const struct export *e) {
        const char *name = go_architecture(e);

        return str_eq(name, "arm") ? "armhf" : str_eq(name, "386") ? "i386" : name;
}

const char *export_template_name(const struct export *e) {
        const char *slash = strrchr(e->image, '/');
        char *name = arena_strdup(e->cli->arena, slash ? slash + 1 : e->image), *version;

        name[strcspn(name, "@")] = '\0';
        version = strchr(name, ':');
        if (version)
                *version++ = '\0';
        for (char *p = name; *p; p++)
                if (*p == '_')
                        *p = '-';
        for (char *p = version; p && *p; p++)
                if (*p == '_')
                        *p = '-';
        return arena_printf(e->cli->arena, "%s_%s_%s.tar.zst", name, version ?: "latest", architecture(e));
}

/* Those whose files Proxmox VE knows how to set up, by their ID in os-release. */
static bool is_known_to_proxmox(const struct export *e) {
        static const char *const known[] = { "alpine", "arch",   "centos", "debian",        "devuan",
                                             "fedora", "gentoo", "nixos",  "opensuse-leap", "ubuntu" };
        _cleanup_(fd_closep) int fd =
                fs_open_in_root(e->root_fd, "/etc/os-release", O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
        _cleanup_(freep) char *text = NULL;
        struct err ignored;
        char path[40];

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (fd < 0 || fs_read_file(AT_FDCWD, path, OS_RELEASE_MAX, &text, NULL, &ignored) < 0)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(known); i++) {
                char line[32];
                const char *at;

                for (int quoted = 0; quoted < 2; quoted++) {
                        (void) snprintf(line, sizeof(line), quoted ? "ID=\"%s\"\n" : "ID=%s\n", known[i]);
                        at = strstr(text, line);
                        if (at && (at == text || at[-1] == '\n'))
                                return true;
                }
        }
        return false;
}

static bool has_init(const struct export *e) {
        int fd = fs_open_in_root(e->root_fd, "/sbin/init", O_PATH, 0);

        (void) fd_close(fd);
        return fd >= 0;
}

/* --- what an image without an init gets --------------------------------------------------------------------------- */

static int put_entry(struct archive_out *out, const struct tar_entry *e, const void *data, struct err *err) {
        static const uint8_t zeros[TAR_BLOCK_BYTES];
        _cleanup_strbuf_ struct strbuf header = STRBUF(TAR_MAX_PAX);
        int r = tar_write_entry(e, NULL, 0, &header, err);

        if (r == 0)
                r = archive_out_write(header.data, header.len, out, err);
        if (r == 0 && e->size > 0)
                r = archive_out_write(data, (size_t) e->size, out, err);
        return r == 0 ? archive_out_write(zeros, tar_write_padding(e->size), out, err) : r;
}

static void put_string(struct strbuf *b, const char *s) {
        strbuf_append(b, s, strlen(s) + 1);
}

static size_t put_strings(struct strbuf *b, const json_t *list) {
        const json_t *one;
        size_t i;

        json_array_foreach(list, i, one) put_string(b, json_string_value(one) ?: "");
        return json_array_size(list);
}

/* As init/app.h wants it. */
static int describe_app(const struct export *e, struct strbuf *ret, struct err *err) {
        const json_t *config = json_object_get(e->spec, "config"), *entrypoint = json_object_get(config, "Entrypoint"),
                     *cmd = json_object_get(config, "Cmd");
        char number[24];
        int stop;

        if (json_array_size(entrypoint) + json_array_size(cmd) == 0)
                return err_set(err, ERR_PRECONDITION,
                               "it has neither a /sbin/init nor an entrypoint or command: a container of it would "
                               "start nothing "
                               "(\"image edit --cmd\")");
        put_string(ret, APP_MARK);
        put_string(ret, text_of(config, "User"));
        put_string(ret, text_of(config, "WorkingDir"));
        stop = signal_from_name(text_of(config, "StopSignal"));
        (void) snprintf(number, sizeof(number), "%d", stop > 0 ? stop : SIGTERM);
        put_string(ret, number);
        (void) snprintf(number, sizeof(number), "%zu", json_array_size(entrypoint) + json_array_size(cmd));
        put_string(ret, number);
        (void) put_strings(ret, entrypoint);
        (void) put_strings(ret, cmd);
        (void) put_strings(ret, json_object_get(config, "Env"));
        return ret->overflow ? err_set(err, ERR_EXHAUSTED, "its config is too long for a template") : 0;
}

/* Our own program, beside this one. */
static int read_init(const struct export *e, char **ret, size_t *ret_len, struct err *err) {
        return fs_read_file(AT_FDCWD, program_path("proxmox-lxcri-init", e->cli->arena), INIT_MAX, ret, ret_len, err);
}

/* As the kernel has it, which e->path need not be: $TMPDIR may lead through links. */
static bool path_of(int fd, char *ret, size_t size) {
        char link[40];
        ssize_t n;

        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, ret, size - 1);
        if (n >= 0)
                ret[n] = '\0';
        return n >= 0;
}

/* Where /sbin leads to: in most images it is a link. */
static int resolve_sbin(const struct export *e, char *ret, size_t size, struct err *err) {
        _cleanup_(fd_closep) int fd = fs_open_in_root(e->root_fd, "/sbin", O_PATH | O_DIRECTORY, 0);
        char path[4096], root_path[4096];
        size_t root;

        (void) snprintf(ret, size, "./sbin");
        if (fd == -ENOENT)
                return 0;
        if (fd < 0 || !path_of(fd, path, sizeof(path)) || !path_of(e->root_fd, root_path, sizeof(root_path)))
                return err_set(err, ERR_PRECONDITION, "its /sbin is no folder");
        root = strlen(root_path);
        if (strncmp(path, root_path, root) != 0 || path[root] != '/')
                return err_set(err, ERR_INTERNAL, "its /sbin leads to %.300s", path);
        (void) snprintf(ret, size, ".%s", path + root);
        return 0;
}

static int put_init(struct export *e, struct archive_out *out, struct err *err) {
        _cleanup_strbuf_ struct strbuf app = STRBUF(APP_FILE_MAX - 1);
        _cleanup_(freep) char *program = NULL;
        char sbin[4096], init[4200];
        size_t len = 0;
        int r = describe_app(e, &app, err);

        if (r == 0)
                r = read_init(e, &program, &len, err);
        if (r == 0)
                r = resolve_sbin(e, sbin, sizeof(sbin), err);
        if (r < 0)
                return r;
        (void) snprintf(init, sizeof(init), "%s/init", sbin);
        if (str_eq(sbin, "./sbin")) /* perhaps it is not there; its mode is what it mostly is */
                r = put_entry(out, &(struct tar_entry){ .type = TAR_DIR, .name = "./sbin/", .link = "", .mode = 0755 },
                              NULL, err);
        if (r == 0)
                r = put_entry(out,
                              &(struct tar_entry){ .type = TAR_FILE,
                                                   .name = init,
                                                   .link = "",
                                                   .mode = 0755,
                                                   .size = len,
                                                   .stored_size = len },
                              program, err);
        return r == 0 ? put_entry(out,
                                  &(struct tar_entry){ .type = TAR_FILE,
                                                       .name = "./" APP_FILE,
                                                       .link = "",
                                                       .mode = 0644,
                                                       .size = app.len,
                                                       .stored_size = app.len },
                                  app.data, err)
                      : r;
}

static int check_our_init_runs(const struct export *e, struct err *err) {
        const char *ours = platform_host()->arch, *its = go_architecture(e);

        return str_eq(its, ours) ? 0
                                 : err_set(err, ERR_PRECONDITION,
                                           "it is for %.32s and has no /sbin/init; the one that it would get is for "
                                           "%s: make the template on a machine of the image's kind",
                                           its, ours);
}

int export_proxmox_template(struct export *e, int fd, const char *path, struct err *err) {
        _cleanup_(archive_out_freep) struct archive_out *out = archive_out_new(fd, ARCHIVE_ZSTD);
        /* Proxmox leaves out what is in ./dev, by that name, since a container's root may make no devices. */
        const struct tar_tree_args args = { .root_fd = e->root_fd,
                                            .prefix = "./",
                                            .open_end = true,
                                            .write = archive_out_write,
                                            .skipped = export_tell_skipped,
                                            .userdata = out };
        static const uint8_t end[2 * TAR_BLOCK_BYTES];
        bool known = is_known_to_proxmox(e), with_init = has_init(e);
        int r = with_init ? 0 : check_our_init_runs(e, err);

        (void) path;
        if (r == 0)
                r = tar_tree(&args, err);
        if (r == 0 && !with_init)
                r = put_init(e, out, err);
        if (r == 0)
                r = archive_out_write(end, sizeof(end), out, err);
        if (r == 0)
                r = archive_out_end(out, err);
        if (r == 0 && !(known && with_init))
                fprintf(stderr, "proxmox-lxcri: for Proxmox VE to leave its files as they are: pct create --ostype "
                                "unmanaged\n");
        return r;
}

/* --- lxc-create -t local -------------------------------------------------------------------------------------------
 */

static int compress_xz(const char *path, const char *name, struct err *err) {
        char tar[4096];

        (void) snprintf(tar, sizeof(tar), "%s/%s", path, name);
        return export_run_program((const char *const[]){ "xz", "-2", "-T0", tar, NULL }, "xz-utils", err);
}

static int put_member(struct archive_out *out, const char *name, const char *text, struct err *err) {
        static const uint8_t zeros[TAR_BLOCK_BYTES];
        uint8_t header[TAR_BLOCK_BYTES];
        size_t len = strlen(text);
        int r;

        tar_write_header(name, len, header);
        r = archive_out_write(header, sizeof(header), out, err);
        if (r == 0)
                r = archive_out_write(text, len, out, err);
        return r == 0 ? archive_out_write(zeros, tar_write_padding(len), out, err) : r;
}

/* What lxc-create appends to a container's configuration; the second is for those with a user namespace. */
static int write_meta(struct export *e, int fd, struct err *err) {
        static const uint8_t end[2 * TAR_BLOCK_BYTES];
        _cleanup_(archive_out_freep) struct archive_out *out = archive_out_new(fd, ARCHIVE_PLAIN);
        const char *config = arena_printf(
                e->cli->arena, "lxc.include = LXC_TEMPLATE_CONFIG/common.conf\nlxc.arch = %s\n", architecture(e));
        const char *user = arena_printf(e->cli->arena,
                                        "lxc.include = LXC_TEMPLATE_CONFIG/common.conf\nlxc.include = "
                                        "LXC_TEMPLATE_CONFIG/userns.conf\nlxc.arch = %s\n",
                                        architecture(e));
        int r = put_member(out, "config", config, err);

        if (r == 0)
                r = put_member(out, "config-user", user, err);
        if (r == 0)
                r = put_member(out, "excludes-user", "./dev/*\n", err);
        return r == 0 ? archive_out_write(end, sizeof(end), out, err) : r;
}

static int write_rootfs(struct export *e, int fd, struct err *err) {
        _cleanup_(archive_out_freep) struct archive_out *out = archive_out_new(fd, ARCHIVE_PLAIN);
        const struct tar_tree_args args = { .root_fd = e->root_fd,
                                            .prefix = "./",
                                            .write = archive_out_write,
                                            .skipped = export_tell_skipped,
                                            .userdata = out };

        return tar_tree(&args, err);
}

int export_lxc_template(struct export *e, int fd, const char *path, struct err *err) {
        static const char *const names[] = { "meta.tar", "rootfs.tar" };
        int r = 0;

        for (size_t i = 0; r == 0 && i < ELEMENTSOF(names); i++) {
                _cleanup_(fd_closep) int file = openat(fd, names[i], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

                if (file < 0)
                        return err_sys(err, errno, "create %s", names[i]);
                r = i == 0 ? write_meta(e, file, err) : write_rootfs(e, file, err);
                if (r == 0)
                        r = compress_xz(path, names[i], err);
        }
        return r;
}
