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

enum { COMPLAINTS_MAX = 4096, TIMEOUT_MS = 30 * 60 * 1000 };

/* Not on a tmpfs, as a root file system may be large. Unlinked: nothing stays of it if we are killed. */
static int open_temporary(int *ret, struct err *err) {
        *ret = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        return *ret < 0 ? err_sys(err, errno, "make a temporary file for the template in /var/tmp") : 0;
}

int proxmox_write_template(int rootfs, const char *init_path, int *ret, struct err *err) {
        _cleanup_(freep) char *init = xstrdup(init_path), *folder = xstrdup(init_path), *out = NULL, *root = NULL,
                              *from = NULL, *rename = NULL;
        _cleanup_strbuf_ struct strbuf complaints = STRBUF(COMPLAINTS_MAX);
        _cleanup_(fd_closep) int fd = -1;
        static const char not_ours[] = "--exclude=./" SUPERVISOR_FOLDER;
        int status, r = open_temporary(&fd, err);

        if (r < 0)
                return r;
        out = xprintf("--file=/proc/%d/fd/%d", (int) getpid(), fd);
        root = xprintf("--directory=/proc/%d/fd/%d", (int) getpid(), rootfs);
        from = xprintf("--directory=%s", dirname(folder));
        rename = xprintf("--transform=flags=r;s,^%s$," SUPERVISOR_PROGRAM ",", basename(init));
        r = proc_run(
                &(struct proc_run_args){
                        .argv = (const char *const[]){ "/bin/tar", "--create", out,
                                                       "--use-compress-program=zstd -1 -T0", "--numeric-owner",
                                                       "--one-file-system", "--xattrs",
                                                       "--xattrs-include=security.capability", "--anchored", not_ours,
                                                       "--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*",
                                                       rename, root, ".", from, basename(init), NULL },
                        .envp = (const char *const[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL },
                        .err_out = &complaints,
                        .timeout_ms = TIMEOUT_MS },
                &status, err);
        if (r < 0)
                return err_wrap(err, "run tar");
        if (status != 0)
                return err_set(err, ERR_INTERNAL,
                               "root.path: make a template of it: tar (with zstd) ended with status %d: %.1000s",
                               status, strbuf_str(&complaints));
        *ret = TAKE_FD(fd);
        return 0;
}
