/* SPDX-License-Identifier: Apache-2.0 */
/* Disk images and datasets, by the programs that everybody has for them. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "cli/image-export.h"
#include "image/tree-copy.h"

enum { SAID_MAX = 2000, MIB = 1 << 20, INODES_SPARE = 1024, INODE_BYTES = 1024, JOURNAL_BYTES = 32 * MIB };

int export_run_program(const char *const *argv, const char *package, struct err *err) {
        _cleanup_strbuf_ struct strbuf said = STRBUF(SAID_MAX);
        int status = 0;
        int r = proc_run(
                &(struct proc_run_args){
                        .argv = argv,
                        .envp = (const char *const[]){ "LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL },
                        .err_out = &said },
                &status, err);

        if (r < 0 && err->sys_errno == ENOENT)
                return err_set(err, ERR_PRECONDITION, "%s is not installed: it is in the package %s", argv[0], package);
        if (r < 0)
                return err_wrap(err, "run %s", argv[0]);
        if (cli_interrupted())
                return err_set(err, ERR_CANCELLED, "interrupted");
        return status == 0 ? 0
                           : err_set(err, strstr(strbuf_str(&said), "No space left") ? ERR_EXHAUSTED : ERR_INTERNAL,
                                     "%s failed: %s", argv[0], strbuf_str(&said));
}

/* What the files need, a sixteenth more, what describes them, and a journal. */
static int measure(struct export *e, uint64_t *ret_inodes, struct err *err) {
        uint64_t bytes;
        int r = fs_usage(e->root_fd, NULL, &bytes, ret_inodes, err);

        if (r == 0 && e->size_bytes == 0)
                e->size_bytes = bytes + bytes / 16 + (*ret_inodes + INODES_SPARE) * INODE_BYTES + JOURNAL_BYTES;
        return r;
}

/* mkfs.ext4 takes what is in the root folder, and makes that one itself. */
static int set_root(const struct stat *root, const char *path, struct err *err) {
        char mode[64], mtime[64];
        const char *const requests[] = { mode, mtime };
        int r = 0;

        (void) snprintf(mode, sizeof(mode), "set_inode_field <2> mode 0%o", root->st_mode);
        (void) snprintf(mtime, sizeof(mtime), "set_inode_field <2> mtime @%jd", (intmax_t) root->st_mtim.tv_sec);
        for (size_t i = 0; r == 0 && i < ELEMENTSOF(requests); i++)
                r = export_run_program((const char *const[]){ "debugfs", "-w", "-R", requests[i], path, NULL },
                                       "e2fsprogs", err);
        return r;
}

int export_ext4(struct export *e, int fd, const char *path, struct err *err) {
        char inodes_text[24], owner[64];
        const char *const argv[] = { "mkfs.ext4", "-q",  "-F", "-m",    "1",  "-N", inodes_text,
                                     "-E",        owner, "-d", e->path, path, NULL };
        struct stat root;
        uint64_t inodes;
        int r = measure(e, &inodes, err);

        if (r < 0)
                return r;
        if (fstat(e->root_fd, &root) < 0)
                return err_sys(err, errno, "look at the image's root");
        (void) snprintf(owner, sizeof(owner), "root_owner=%u:%u", root.st_uid, root.st_gid);
        (void) snprintf(inodes_text, sizeof(inodes_text), "%" PRIu64, inodes + inodes / 8 + INODES_SPARE);
        if (ftruncate(fd, (off_t) ((e->size_bytes + MIB - 1) / MIB * MIB)) < 0)
                return err_sys(err, errno, "make a file of %" PRIu64 " bytes", e->size_bytes);
        r = export_run_program(argv, "e2fsprogs", err);
        if (r == 0)
                return set_root(&root, path, err);
        return r == -ERR_INTERNAL && strstr(err->msg, "allocate")
                       ? err_wrap(err, "perhaps it does not fit into %" PRIu64 " MiB (--size)", e->size_bytes / MIB)
                       : r;
}

int export_squashfs(struct export *e, int fd, const char *path, struct err *err) {
        const char *const argv[] = { "mksquashfs", e->path, path,   "-noappend", "-no-progress",
                                     "-quiet",     "-comp", "zstd", NULL };

        (void) fd;
        return export_run_program(argv, "squashfs-tools", err);
}

/* --- ZFS ---------------------------------------------------------------------------------------------------------- */

static int zfs(struct err *err, const char *const *argv) {
        return export_run_program(argv, "zfsutils-linux", err);
}
#define ZFS(err, ...) zfs((err), (const char *const[]){ "zfs", __VA_ARGS__, NULL })

static int fill_dataset(struct export *e, const char *dataset, struct err *err) {
        char folder[] = "/tmp/proxmox-lxcri-zfs.XXXXXX";
        const struct tar_tree_args args = { .root_fd = e->root_fd, .skipped = export_tell_skipped };
        int fd, r;

        if (!mkdtemp(folder))
                return err_sys(err, errno, "make a folder to mount the dataset on");
        r = export_run_program((const char *const[]){ "mount", "-t", "zfs", "-o", "zfsutil", dataset, folder, NULL },
                               "mount", err);
        if (r == 0) {
                fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = fd < 0 ? err_sys(err, errno, "open the dataset") : tree_copy(&args, fd, err);
                (void) fd_close(fd);
                if (umount2(folder, UMOUNT_NOFOLLOW) < 0 && r == 0)
                        r = err_sys(err, errno, "unmount %s", folder);
        }
        (void) rmdir(folder);
        return r;
}

/* It is called what it is to be called once it is complete. */
int export_zfs(struct export *e, struct err *err) {
        _cleanup_(freep) char *temporary = xprintf("%s.part-%d", e->out, (int) getpid());
        struct err later;
        int r = ZFS(err, "create", "-u", "-o", "xattr=sa", "-o", "acltype=posixacl", "-o", "mountpoint=none",
                    temporary);

        if (r < 0)
                return r;
        r = fill_dataset(e, temporary, err);
        if (r == 0)
                r = ZFS(err, "rename", temporary, e->out);
        if (r == 0)
                r = ZFS(err, "inherit", "mountpoint", e->out);
        if (r < 0 && ZFS(&later, "destroy", "-r", temporary) < 0)
                (void) cli_fail(&later);
        return r;
}
