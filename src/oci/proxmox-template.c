/* SPDX-License-Identifier: Apache-2.0 */
/* proxmox-template - a root file system as Proxmox takes it: by tar, which Proxmox itself needs. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/proc.h"
#include "base/str.h"
#include "init/supervisor.h"
#include "oci/proxmox.h"

enum { TAR_WORDS_MAX = 32 };

/* Not on a tmpfs, as a root file system may be large. Unlinked: nothing stays of it if we are killed. */
int proxmox_temporary(int *ret, struct err *err) {
        *ret = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        return *ret < 0 ? err_sys(err, errno, "make a temporary file for the template in /var/tmp") : 0;
}

int proxmox_run_tar(const char *const *words, struct strbuf *out, struct strbuf *complaints, int *ret_status,
                    struct err *err) {
        const char *argv[TAR_WORDS_MAX] = { "/bin/tar" };
        size_t n = 1;
        int r;

        while (*words && n < TAR_WORDS_MAX - 1)
                argv[n++] = *words++;
        r = proc_run(&(struct proc_run_args){ .argv = argv,
                                              .envp = (const char *const[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                                                             "LC_ALL=C", NULL },
                                              .out = out,
                                              .err_out = complaints,
                                              .timeout_ms = PROXMOX_TAR_TIMEOUT_MS },
                     ret_status, err);
        return r < 0 ? err_wrap(err, "run tar") : 0;
}

int proxmox_tar(const char *const *words, struct err *err) {
        _cleanup_strbuf_ struct strbuf complaints = STRBUF(PROXMOX_COMPLAINTS_MAX);
        int status, r = proxmox_run_tar(words, NULL, &complaints, &status, err);

        if (r == 0 && status != 0)
                r = err_set(err, ERR_INTERNAL, "tar (with zstd) ended with status %d: %.1000s", status,
                            strbuf_str(&complaints));
        return r;
}

/* Our init's words for tar: which folder, which name there, which in the archive. */
struct init_words {
        char *name, *path, *from, *rename;
};

static void init_words_done(struct init_words *w) {
        free(w->name);
        free(w->path);
        free(w->from);
        free(w->rename);
}

static struct init_words init_words(const char *init_path) {
        struct init_words w = { .name = xstrdup(init_path), .path = xstrdup(init_path) };

        w.from = xprintf("--directory=%s", dirname(w.path));
        w.rename = xprintf("--transform=flags=r;s,^%s$," SUPERVISOR_PROGRAM ",", basename(w.name));
        return w;
}

int proxmox_tar_init(const char *init_path, const char *verb, const char *file, struct err *err) {
        _cleanup_(init_words_done) struct init_words w = init_words(init_path);

        return proxmox_tar((const char *const[]){ verb, file, "--owner=0", "--group=0", "--numeric-owner", w.rename,
                                                  w.from, basename(w.name), NULL },
                           err);
}

int proxmox_write_template(int rootfs, const char *init_path, int *ret, struct err *err) {
        _cleanup_(init_words_done) struct init_words w = init_words(init_path);
        _cleanup_(freep) char *out = NULL, *root = NULL;
        _cleanup_(fd_closep) int fd = -1;
        static const char not_ours[] = "--exclude=./" SUPERVISOR_FOLDER;
        int r = proxmox_temporary(&fd, err);

        if (r < 0)
                return r;
        out = xprintf("--file=/proc/%d/fd/%d", (int) getpid(), fd);
        root = xprintf("--directory=/proc/%d/fd/%d", (int) getpid(), rootfs);
        r = proxmox_tar((const char *const[]){ "--create", out, "--use-compress-program=zstd -1 -T0", "--numeric-owner",
                                               "--one-file-system", "--xattrs", "--xattrs-include=security.capability",
                                               "--anchored", not_ours, "--exclude=./dev/*", "--exclude=./proc/*",
                                               "--exclude=./sys/*", w.rename, root, ".", w.from, basename(w.name),
                                               NULL },
                        err);
        if (r < 0)
                return err_wrap(err, "root.path: make a template of it");
        *ret = TAKE_FD(fd);
        return 0;
}
