/* SPDX-License-Identifier: Apache-2.0 */
#include "image/snapshot-mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/strbuf.h"
#include "base/thread.h"

/* <sys/mount.h> and <linux/mount.h> can't both be included with this libc. */
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
#ifndef MS_REC
#define MS_RDONLY 1
#define MS_REC 16384
#define MS_PRIVATE (1 << 18)
#endif
enum { MAX_STRING = 255, MAX_MOUNT_DATA = 4095 };

static int sys_fsopen(const char *name) {
        return (int) syscall(SYS_fsopen, name, FSOPEN_CLOEXEC);
}

static int set(int fs, const char *key, const char *value) {
        return (int) syscall(SYS_fsconfig, fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0);
}

/* What the kernel's overlay has to say, which is in the context's log. */
static int raise_with_log(int fs, int error, const char *what, struct err *err) {
        char buf[512];
        ssize_t n = fs < 0 ? -1 : read(fs, buf, sizeof(buf) - 1);

        while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == '\0'))
                n--;
        buf[n > 0 ? n : 0] = '\0';
        return n > 0 ? err_sys(err, error, "%s (kernel: %s)", what, buf) : err_sys(err, error, "%s", what);
}

/* Does this kernel know "lowerdir+"? Before overlay took its options one by one (6.5) any option is accepted until the
 * end. */
bool overlay_has_append(void) {
        static _Atomic int known; /* 0: not asked yet, 1: no, 2: yes */
        int answer = atomic_load_explicit(&known, memory_order_relaxed);
        _cleanup_(fd_closep) int fs = -1;

        if (answer)
                return answer == 2;
        fs = sys_fsopen("overlay");
        if (fs < 0)
                return false;
        answer = set(fs, "no_such_option", NULL) < 0 && set(fs, "lowerdir+", "/") == 0 ? 2 : 1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
        return answer == 2;
}

/* Never index (it refuses a copied upper), nor metacopy (files without data don't survive a change of host or image) or
 * redirects (a folder that was renamed would be named by where it is in the image). Volatile:
 * else every unmount, so the end of every container, syncs the whole file system that upper is on. Nothing is lost but
 * after a crash of the machine, when Kubernetes makes containers anew. Not so on a file system of its own, which has
 * nothing of others to be synced, and is kept in snapshots and backups. */
static int set_upper(const struct overlay_args *a, int fs, const char *upper, const char *work) {
        return set(fs, "upperdir", upper) < 0 || set(fs, "workdir", work) < 0 ||
                               (a->upper_mount_fd <= 0 && set(fs, "volatile", NULL) < 0) ||
                               set(fs, "index", "off") < 0 || set(fs, "metacopy", "off") < 0 ||
                               set(fs, "redirect_dir", "off") < 0
                       ? -1
                       : 0;
}

static int create(const struct overlay_args *a, int fs, int *ret_fd, struct err *err) {
        if (a->label && set(fs, "context", a->label) < 0)
                return raise_with_log(fs, errno, "set SELinux context of overlay", err);
        if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return raise_with_log(fs, errno, "make overlay file system", err);
        *ret_fd = (int) syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
        return *ret_fd < 0 ? raise_with_log(fs, errno, "mount overlay", err) : 0;
}

/* Full paths that fit fsconfig: false when one does not. */
static bool full_path(const struct overlay_args *a, const char *name, char ret[MAX_STRING + 1]) {
        size_t len = strlen(a->layers_path);

        if (strncmp(name, "../", 3) == 0) { /* for people who read /proc/mounts */
                name += 3;
                while (len && a->layers_path[len - 1] != '/')
                        len--;
                len -= len > 1;
        }
        return len <= MAX_STRING &&
               snprintf(ret, MAX_STRING + 1, "%.*s/%s", (int) len, a->layers_path, name) <= MAX_STRING;
}

static bool fits_append(const struct overlay_args *a) {
        char path[MAX_STRING + 1];

        for (size_t i = 0; i < a->n_layers; i++)
                if (!full_path(a, a->layers[i], path))
                        return false;
        /* A relative upper would need a working directory; overlay takes backslashes and colons in it as its own. */
        return !strpbrk(a->layers_path, "\\:,") &&
               (!a->upper || (full_path(a, a->upper, path) && full_path(a, a->work, path)));
}

static int mount_append(const struct overlay_args *a, int *ret_fd, struct err *err) {
        _cleanup_(fd_closep) int fs = sys_fsopen("overlay");
        char path[MAX_STRING + 1], work[MAX_STRING + 1];

        if (fs < 0)
                return err_sys(err, errno, "open overlay file system");
        (void) set(fs, "source", "overlay");
        for (size_t i = a->n_layers; i-- > 0;) {
                (void) full_path(a, a->layers[i], path);
                if (set(fs, "lowerdir+", path) < 0)
                        return raise_with_log(fs, errno, "add layer to overlay", err);
        }
        if (a->upper) {
                (void) full_path(a, a->upper, path);
                (void) full_path(a, a->work, work);
                if (set_upper(a, fs, path, work) < 0)
                        return raise_with_log(fs, errno, "set upper folder of overlay", err);
        }
        return create(a, fs, ret_fd, err);
}

struct job {
        const struct overlay_args *a;
        const char *lower; /* "3:2:1" */
        int fd, r;
        struct err *err;
};

static int mount_string(const struct overlay_args *a, const char *lower, int *ret_fd, struct err *err) {
        _cleanup_(fd_closep) int fs = sys_fsopen("overlay");

        if (fs < 0)
                return err_sys(err, errno, "open overlay file system");
        (void) set(fs, "source", "overlay");
        if (set(fs, "lowerdir", lower) < 0 || (a->upper && set_upper(a, fs, a->upper, a->work) < 0))
                return raise_with_log(fs, errno, "set folders of overlay", err);
        return create(a, fs, ret_fd, err);
}

static int mount_old(const struct overlay_args *a, const char *lower, int *ret_fd, struct err *err) {
        _cleanup_strbuf_ struct strbuf data = STRBUF(MAX_MOUNT_DATA);

        strbuf_printf(&data, "lowerdir=%s", lower);
        if (a->upper)
                strbuf_printf(&data, ",upperdir=%s,workdir=%s%s,index=off,metacopy=off,redirect_dir=off", a->upper,
                              a->work, a->upper_mount_fd > 0 ? "" : ",volatile");
        if (a->label)
                strbuf_printf(&data, ",context=\"%s\"", a->label);
        if (data.overflow)
                return err_set(err, ERR_EXHAUSTED, "image has too many layers for this kernel");
        /* In the namespace of this thread; "tmp" is there in any case. */
        if (mount("overlay", "tmp", "overlay", a->upper ? 0 : MS_RDONLY, strbuf_str(&data)) < 0)
                return err_sys(err, errno, "mount overlay");
        *ret_fd = (int) syscall(SYS_open_tree, AT_FDCWD, "tmp", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        return *ret_fd < 0 ? err_sys(err, errno, "detach overlay mount") : 0;
}

static bool is_long(const struct job *j) {
        return j->a->way == OVERLAY_MOUNT || strlen(j->lower) > MAX_STRING;
}

/* Are there mounts to be made for overlay to find? */
static bool needs_mounts(const struct overlay_args *a) {
        return a->userns_fd > 0 || a->upper_mount_fd > 0;
}

static bool has_own_mounts(const struct job *j) {
        return is_long(j) || needs_mounts(j->a);
}

/* Idmapped mounts of the layers on the layers themselves, where only this thread sees them. Overlay keeps private
 * clones of what it finds there. */
static int map_layers(const struct overlay_args *a, struct err *err) {
        struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t) a->userns_fd };

        for (size_t i = 0; i < a->n_layers; i++) {
                _cleanup_(fd_closep) int tree =
                        (int) syscall(SYS_open_tree, AT_FDCWD, a->layers[i], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

                if (tree < 0)
                        return err_sys(err, errno, "clone a layer");
                if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
                        return errno == EINVAL ? err_set(err, ERR_PRECONDITION,
                                                         "the file system of %s has no idmapped mounts, which pods "
                                                         "with a user namespace need",
                                                         a->layers_path)
                                               : err_sys(err, errno, "map the owners in a layer");
                if (syscall(SYS_move_mount, tree, "", AT_FDCWD, a->layers[i], MOVE_MOUNT_F_EMPTY_PATH) < 0)
                        return err_sys(err, errno, "attach a layer");
        }
        return 0;
}

static bool fits_append_way(const struct overlay_args *a) {
        return a->way == OVERLAY_APPEND || (a->way == OVERLAY_ANY && overlay_has_append() && fits_append(a));
}

static int attach_upper(const struct overlay_args *a, struct err *err) {
        return syscall(SYS_move_mount, a->upper_mount_fd, "", AT_FDCWD, a->upper_place, MOVE_MOUNT_F_EMPTY_PATH) < 0
                       ? err_sys(err, errno, "attach the folder of the writable layer")
                       : 0;
}

static int mount_over_mounts(const struct job *j, int *ret_fd, struct err *err) {
        int r = j->a->userns_fd > 0 ? map_layers(j->a, err) : 0;

        if (r == 0 && j->a->upper_mount_fd > 0)
                r = attach_upper(j->a, err);
        if (r < 0)
                return r;
        if (fits_append_way(j->a))
                r = mount_append(j->a, ret_fd, err);
        else
                r = is_long(j) ? mount_old(j->a, j->lower, ret_fd, err) : mount_string(j->a, j->lower, ret_fd, err);
        if (r < 0 && err->sys_errno == EINVAL)
                err->code = ERR_PRECONDITION; /* before 5.19, or what upper is on can't */
        return r < 0 ? -(int) err->code : 0;
}

static void *run(void *arg) {
        struct job *j = arg;

        if (unshare(has_own_mounts(j) ? CLONE_NEWNS : CLONE_FS) < 0) {
                j->r = err_sys(j->err, errno, "leave the working directory that threads share");
                return NULL;
        }
        if (has_own_mounts(j) && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                j->r = err_sys(j->err, errno, "make mount namespace private");
                return NULL;
        }
        /* The descriptor belongs to a mount of the namespace we left, on which nothing may be mounted: go by path then.
         */
        if ((has_own_mounts(j) ? chdir(j->a->layers_path) : fchdir(j->a->layers_fd)) < 0)
                j->r = err_sys(j->err, errno, "go to the folder of layers");
        else if (needs_mounts(j->a))
                j->r = mount_over_mounts(j, &j->fd, j->err);
        else if (is_long(j))
                j->r = mount_old(j->a, j->lower, &j->fd, j->err);
        else
                j->r = mount_string(j->a, j->lower, &j->fd, j->err);
        return NULL;
}

static int run_in_thread(struct job *j) {
        pthread_t thread;

        if (thread_start(0, run, j, &thread) != 0)
                return err_set(j->err, ERR_EXHAUSTED, "no thread can be started");
        (void) pthread_join(thread, NULL);
        return j->r;
}

int overlay_mount(const struct overlay_args *args, int *ret_fd, struct err *err) {
        _cleanup_strbuf_ struct strbuf lower = STRBUF(MAX_MOUNT_DATA);
        struct job job = { .a = args, .fd = -1, .err = err };
        int r;

        if (!needs_mounts(args) && fits_append_way(args))
                return mount_append(args, ret_fd, err);
        for (size_t i = args->n_layers; i-- > 0;)
                strbuf_printf(&lower, "%s%s", args->layers[i], i ? ":" : "");
        if (lower.overflow)
                return err_set(err, ERR_EXHAUSTED, "image has too many layers for this kernel");
        job.lower = strbuf_str(&lower);
        r = run_in_thread(&job);
        if (r == 0)
                *ret_fd = job.fd;
        return r;
}
