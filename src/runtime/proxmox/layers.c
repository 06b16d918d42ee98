/* SPDX-License-Identifier: Apache-2.0 */
/* layers - see layers.h. */
#include "runtime/proxmox/layers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"
#include "base/thread.h"

#define TOP "containers"
enum { LAYERS_MAX = 10000 };

static int ended(struct err *err) {
        return err_set(err, ERR_PRECONDITION, "the pod's Proxmox container has ended");
}

/* Symlinks and mounts below are of others, who may want us to go elsewhere. */
static int open_below(int dir_fd, const char *path, int *ret, struct err *err) {
        const struct open_how how = {
                .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
        };

        *ret = (int) syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
        return *ret < 0 ? err_sys(err, errno, "open folder /%s of the Proxmox container", path) : 0;
}

static int open_process(const struct ct *ct, int *ret_pidfd, struct err *err) {
        *ret_pidfd = ct->vmid ? proc_open(ct->pid, ct->start_time) : -1;
        return *ret_pidfd < 0 || proc_wait_gone(*ret_pidfd, 0) ? ended(err) : 0;
}

/* The CT's root folder. Its pid is the process' whose pidfd we hold for as long as that has not ended. */
static int open_root(const struct ct *ct, int *ret, struct err *err) {
        _cleanup_(fd_closep) int pidfd = -1, root = -1;
        char path[64];
        int r = open_process(ct, &pidfd, err);

        if (r < 0)
                return r;
        (void) snprintf(path, sizeof(path), "/proc/%d/root", (int) ct->pid);
        root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (proc_wait_gone(pidfd, 0))
                return ended(err);
        if (root < 0)
                return err_sys(err, errno, "open the root folder of the Proxmox container");
        *ret = TAKE_FD(root);
        return 0;
}

static int give_to_its_root(int fd, struct err *err) {
        return fchown(fd, ct_id_range.outside, ct_id_range.outside) < 0
                       ? err_sys(err, errno, "give a folder to the root of the Proxmox container")
                       : 0;
}

/* Its root owns it, so that a backup, which Proxmox makes as that one, has it. Nobody else gets in. */
static int make_owned(int dir_fd, const char *name, int *ret, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        int r;

        if (mkdirat(dir_fd, name, 0700) < 0)
                return err_sys(err, errno, "make folder %s in the Proxmox container", name);
        r = open_below(dir_fd, name, &fd, err);
        if (r == 0)
                r = give_to_its_root(fd, err);
        if (r == 0)
                *ret = TAKE_FD(fd);
        return r;
}

int ct_layer_create(const struct ct *ct, const char *id, int *ret_fd, struct err *err) {
        _cleanup_(fd_closep) int root = -1, top = -1;
        int r = open_root(ct, &root, err);

        if (r < 0)
                return r;
        r = make_owned(root, TOP, &top, err);
        if (r < 0 && err->sys_errno == EEXIST)
                r = open_below(root, TOP, &top, err);
        /* Again, for one who was interrupted between. */
        if (r == 0)
                r = give_to_its_root(top, err);
        return r < 0 ? r : make_owned(top, id, ret_fd, err);
}

static int open_layer(int root, const char *id, const char *name, int *ret, struct err *err) {
        char path[sizeof(TOP) + 160];

        if ((size_t) snprintf(path, sizeof(path), TOP "/%s%s%s", id, name ? "/" : "", name ?: "") >= sizeof(path))
                return err_set(err, ERR_INVALID, "the name of a layer is too long");
        return open_below(root, path, ret, err);
}

int ct_layer_open(const struct ct *ct, const char *id, const char *name, int *ret_fd, struct err *err) {
        _cleanup_(fd_closep) int root = -1;
        int r = open_root(ct, &root, err);

        return r < 0 ? r : open_layer(root, id, name, ret_fd, err);
}

/* Takes @fd. */
static int list_names(int fd, struct arena *arena, const char ***ret, struct err *err) {
        _cleanup_(closedirp) DIR *d = fdopendir(fd);
        _cleanup_(freep) const char **list = NULL;
        size_t n = 0, cap = 0;
        const struct dirent *e;

        if (!d) {
                (void) fd_close(fd);
                return err_sys(err, errno, "list folder /" TOP " of the Proxmox container");
        }
        while ((e = readdir(d))) {
                if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                        continue;
                if (n == LAYERS_MAX)
                        return err_set(err, ERR_EXHAUSTED, "more than %d layers are in the Proxmox container",
                                       LAYERS_MAX);
                xgrow(list, n, cap);
                list[n++] = arena_strdup(arena, e->d_name);
        }
        xgrow(list, n, cap);
        list[n++] = NULL;
        *ret = arena_memdup(arena, list, n * sizeof(*list));
        return 0;
}

int ct_layer_list(const struct ct *ct, struct arena *arena, const char ***ret, struct err *err) {
        _cleanup_(fd_closep) int root = -1;
        int top = -1, r = open_root(ct, &root, err);

        if (r == 0)
                r = open_below(root, TOP, &top, err);
        if (r < 0 && err->sys_errno == ENOENT) {
                *ret = arena_array(arena, const char *, 1);
                return 0;
        }
        return r < 0 ? r : list_names(top, arena, ret, err);
}

int ct_layer_remove(const struct ct *ct, const char *id, struct err *err) {
        _cleanup_(fd_closep) int root = -1, top = -1;
        int r = open_root(ct, &root, err);

        if (r == 0)
                r = open_below(root, TOP, &top, err);
        if (r == -ERR_PRECONDITION || (r < 0 && err->sys_errno == ENOENT))
                return 0;
        return r < 0 ? r : fs_remove_tree(top, id, err);
}

/* --- a mount of it ------------------------------------------------------------------------------------------------ */

struct job {
        const char *id;
        int pidfd, mount_fd, r;
        struct err *err;
};

/* A mount can be cloned only in its own mount namespace. This thread has entered the CT's, and has its root now. */
static int clone_here(struct job *j) {
        _cleanup_(fd_closep) int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
        int r = root < 0 ? err_sys(j->err, errno, "open the root folder of the Proxmox container")
                         : open_layer(root, j->id, NULL, &fd, j->err);

        if (r < 0)
                return r;
        j->mount_fd = open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        return j->mount_fd < 0 ? err_sys(j->err, errno, "clone the mount of the Proxmox container's volume") : 0;
}

static void *run(void *arg) {
        struct job *j = arg;

        if (unshare(CLONE_FS) < 0)
                j->r = err_sys(j->err, errno, "leave the root folder that threads share");
        else if (setns(j->pidfd, CLONE_NEWNS) < 0)
                j->r = errno == ESRCH ? ended(j->err)
                                      : err_sys(j->err, errno, "enter the mount namespace of the Proxmox container");
        else
                j->r = clone_here(j);
        return NULL;
}

int ct_layer_clone(const struct ct *ct, const char *id, int *ret_mount_fd, struct err *err) {
        _cleanup_(fd_closep) int pidfd = -1;
        struct job job = { .id = id, .mount_fd = -1, .err = err };
        pthread_t thread;
        int r = open_process(ct, &pidfd, err);

        if (r < 0)
                return r;
        job.pidfd = pidfd;
        if (thread_start(0, run, &job, &thread) != 0)
                return err_set(err, ERR_EXHAUSTED, "no thread can be started");
        (void) pthread_join(thread, NULL);
        if (job.r == 0)
                *ret_mount_fd = job.mount_fd;
        return job.r;
}
