/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/brief-mount.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "proto/admin.pb-c.h"

enum { BUSY_TRIES = 500, BUSY_WAIT_MS = 20 };

static int unmount(struct brief_mount *m, struct err *err) {
        Proxmoxlxcri__V1__UnmountImageRequest req = PROXMOXLXCRI__V1__UNMOUNT_IMAGE_REQUEST__INIT;
        Proxmoxlxcri__V1__UnmountImageResponse *res;

        req.what = m->path;
        return cli_call(m->cli, "/proxmoxlxcri.v1.Admin/UnmountImage", &req.base,
                        &proxmoxlxcri__v1__unmount_image_response__descriptor, CLI_TIMEOUT_MS, &res, err);
}

/* Whoever was killed lets go of its files one by one, our pipe among the first; what it has started ends later. */
static void unmount_when_idle(struct brief_mount *m) {
        struct err err;

        for (unsigned i = 0; unmount(m, &err) == -ERR_PRECONDITION && i < BUSY_TRIES; i++)
                (void) usleep(BUSY_WAIT_MS * 1000);
}

/* Where the one that is told by @fd's end has left something. */
static _noreturn_ void clean_up(struct brief_mount *m, int fd, const char *half_made) {
        int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        struct err ignored;
        char byte;

        (void) setsid(); /* an interruption is for the others */
        (void) signal(SIGINT, SIG_IGN);
        (void) signal(SIGTERM, SIG_IGN);
        for (int i = 0; i < 3; i++)
                (void) dup2(null_fd, i);
        while (read(fd, &byte, 1) < 0 && errno == EINTR)
                continue;
        m->cli->client = NULL; /* that connection is the other's */
        if (access(m->path, F_OK) == 0) {
                unmount_when_idle(m);
                (void) rmdir(m->path);
        }
        if (half_made && fs_remove_tree(AT_FDCWD, half_made, &ignored) < 0)
                _exit(1); /* nobody is left to tell */
        _exit(0);
}

static int begin(struct brief_mount *m, const char *half_made, struct err *err) {
        const char *tmp = getenv("TMPDIR");
        int life[2];
        pid_t child;

        m->path = xprintf("%s/proxmox-lxcri-image.XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp");
        if (!mkdtemp(m->path))
                return err_sys(err, errno, "make a folder to mount the image on, %.300s", m->path);
        if (pipe2(life, O_CLOEXEC) < 0)
                return err_sys(err, errno, "make a pipe");
        child = fork();
        if (child == 0) {
                (void) close(life[1]);
                clean_up(m, life[0], half_made);
        }
        (void) close(life[0]);
        m->life_fd = life[1];
        return child < 0 ? err_sys(err, errno, "start a process") : 0;
}

int brief_mount(struct brief_mount *m, struct cli *cli, const char *image, const char *half_made, struct err *err) {
        Proxmoxlxcri__V1__MountImageRequest req = PROXMOXLXCRI__V1__MOUNT_IMAGE_REQUEST__INIT;
        Proxmoxlxcri__V1__MountImageResponse *res;
        _cleanup_(fd_closep) int folder = -1;
        int r;

        *m = (struct brief_mount){ .cli = cli, .fd = -1, .life_fd = -1 };
        r = begin(m, half_made, err);
        if (r < 0)
                return r;
        folder = open(m->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        req.path = m->path;
        req.folder = folder;
        req.image = (char *) (uintptr_t) image;
        r = cli_call(cli, "/proxmoxlxcri.v1.Admin/MountImage", &req.base,
                     &proxmoxlxcri__v1__mount_image_response__descriptor, CLI_TIMEOUT_MS, &res, err);
        if (r < 0)
                return r;
        m->mounted = true;
        m->fd = open(m->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return m->fd < 0 ? err_sys(err, errno, "open %.300s", m->path) : 0;
}

void brief_mount_done(struct brief_mount *m) {
        struct err err;

        if (!m->path)
                return;
        m->fd = fd_close(m->fd);
        cli_forget_interrupt();
        if (m->mounted && unmount(m, &err) < 0)
                (void) cli_fail(&err);
        if (rmdir(m->path) < 0 && errno != ENOENT)
                fprintf(stderr, "proxmox-lxcri: remove %s: %m\n", m->path);
        m->life_fd = fd_close(m->life_fd);
        free(m->path);
        m->path = NULL;
}
