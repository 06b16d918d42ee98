/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: what Proxmox VE makes containers of, and what lxc-create's template "local" does. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "cli/archive-out.h"
#include "cli/image-export.h"
#include "image/tar-tree.h"
#include "image/tar-write.h"

enum { OS_RELEASE_MAX = 64 * 1024 };

/* What Proxmox VE and LXC call this machine. */
static const char *architecture(void) {
        static const char *const names[][2] = {
                { "x86_64", "amd64" }, { "aarch64", "arm64" }, { "armv7l", "armhf" }, { "riscv64", "riscv64" }
        };
        static struct utsname u;

        (void) uname(&u);
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (str_eq(u.machine, names[i][0]))
                        return names[i][1];
        return u.machine;
}

const char *export_template_name(struct cli *cli, const char *image) {
        const char *slash = strrchr(image, '/');
        char *name = arena_strdup(cli->arena, slash ? slash + 1 : image), *version;

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
        return arena_printf(cli->arena, "%s_%s_%s.tar.zst", name, version ?: "latest", architecture());
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

int export_proxmox_template(struct export *e, int fd, const char *path, struct err *err) {
        _cleanup_(archive_out_freep) struct archive_out *out = archive_out_new(fd, ARCHIVE_ZSTD);
        /* Proxmox leaves out what is in ./dev, by that name, since a container's root may make no devices. */
        const struct tar_tree_args args = { .root_fd = e->root_fd,
                                            .prefix = "./",
                                            .write = archive_out_write,
                                            .skipped = export_tell_skipped,
                                            .userdata = out };
        int r = tar_tree(&args, err);

        (void) path;
        if (r == 0)
                r = archive_out_end(out, err);
        if (r == 0 && !is_known_to_proxmox(e))
                fprintf(stderr,
                        "proxmox-lxcri: Proxmox VE doesn't know this distribution: \"pct create\" wants --ostype "
                        "unmanaged\n");
        if (r == 0 && !has_init(e))
                fprintf(stderr, "proxmox-lxcri: there is no /sbin/init in it: such a container needs an entrypoint "
                                "(\"pct set ID "
                                "--entrypoint ...\", from 9.1 on)\n");
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
                e->cli->arena, "lxc.include = LXC_TEMPLATE_CONFIG/common.conf\nlxc.arch = %s\n", architecture());
        const char *user = arena_printf(e->cli->arena,
                                        "lxc.include = LXC_TEMPLATE_CONFIG/common.conf\nlxc.include = "
                                        "LXC_TEMPLATE_CONFIG/userns.conf\nlxc.arch = %s\n",
                                        architecture());
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
