/* SPDX-License-Identifier: Apache-2.0 */
/* tree-zfs - trees that are ZFS datasets: ROOT/layer-N with a snapshot once it is complete, and its clones,
 * ROOT/layer-M of the layer above and ROOT/snapshot-ID of a container. They are mounted by nobody but us, detached, so
 * that their mounts end with whoever has them open. An empty folder stands for each where other snapshotters have the
 * tree itself; it is made before the dataset and goes after it, so that datasets without one are a crash's. By the zfs
 * program: libzfs has no stable interface. Source: zfs(8), zfsprops(7). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/proc.h"
#include "base/str.h"
#include "image/images.h"
#include "image/snapshotter.h"

enum {
        MAGIC = 0x2FC12FC1,
        NAME_MAX_LEN = 255, /* of a dataset, snapshot included */
        TIMEOUT_MS = 120000,
        LIST_MAX = 64 << 20,
        BUSY_TRIES = 100, /* a mount that ended lets go of its dataset a moment later */
        BUSY_WAIT_MS = 50,
};

#define SEALED "@sealed"
#define OWNER "proxmox-lxcri:root" /* whose datasets these are: the folder of a store */

/* --- the program -------------------------------------------------------------------------------------------------- */

/* Its first line says what is wrong. */
static int raise_said(const struct strbuf *said, const char *verb, const char *name, struct err *err) {
        const char *text = strbuf_str(said);

        if (strstr(text, ": out of space"))
                return err_sys(err, ENOSPC, "zfs %s %s", verb, name);
        return err_set(err, ERR_INTERNAL, "zfs %s %s: %.*s", verb, name, (int) strcspn(text, "\n"),
                       *text ? text : "it failed and does not say why");
}

/* @argv from the verb on. 0, or with @said filled 1 when it failed. */
static int run(const char *const *argv, struct strbuf *out, struct strbuf *said, struct err *err) {
        static const char *const env[] = { "LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
        const char *full[24] = { "zfs" };
        int status, r;

        for (size_t i = 0; argv[i]; i++)
                full[i + 1] = argv[i];
        r = proc_run(
                &(struct proc_run_args){
                        .argv = full, .envp = env, .out = out, .err_out = said, .timeout_ms = TIMEOUT_MS },
                &status, err);
        if (r < 0)
                return err_wrap(err, "run zfs %s (package zfsutils-linux)", argv[0]);
        if (out && out->overflow)
                return err_set(err, ERR_EXHAUSTED, "zfs %s says too much", argv[0]);
        return status == 0 ? 0 : 1;
}

static int must_run(const char *const *argv, const char *name, struct strbuf *out, struct err *err) {
        _cleanup_strbuf_ struct strbuf said = STRBUF(4096);
        int r = run(argv, out, &said, err);

        return r == 1 ? raise_said(&said, argv[0], name, err) : r;
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static int dataset_of(const struct snapshotter *s, const struct tree *what, const char *suffix,
                      char ret[NAME_MAX_LEN + 1], struct err *err) {
        int n = snprintf(ret, NAME_MAX_LEN + 1, "%s/%s-%s%s", s->dataset, what->kind, what->id, suffix);

        return n > NAME_MAX_LEN ? err_set(err, ERR_INVALID, "name of dataset \"%s/%s-%s\" is too long", s->dataset,
                                          what->kind, what->id)
                                : 0;
}

/* --- trees -------------------------------------------------------------------------------------------------------- */

static int make_dataset(struct snapshotter *s, const struct tree *what, const struct tree *from, struct err *err) {
        char name[NAME_MAX_LEN + 1], origin[NAME_MAX_LEN + 1], quota[48];
        const char *argv[16] = { from ? "clone" : "create", "-o", "mountpoint=legacy", "-o", "xattr=sa", "-o",
                                 "acltype=posixacl" };
        size_t n = 7;
        int r = dataset_of(s, what, "", name, err);

        if (r == 0 && from)
                r = dataset_of(s, from, SEALED, origin, err);
        if (r < 0)
                return r;
        if (s->quota_bytes && str_eq(what->kind, "snapshot")) {
                (void) snprintf(quota, sizeof(quota), "quota=%llu", (unsigned long long) s->quota_bytes);
                argv[n++] = "-o";
                argv[n++] = quota;
        }
        if (from)
                argv[n++] = origin;
        argv[n] = name;
        return must_run(argv, name, NULL, err);
}

static int zfs_make(struct snapshotter *s, const struct tree *what, const struct tree *from, struct err *err) {
        char name[NAME_MAX_LEN + 1];
        int r = dataset_of(s, what, SEALED, name, err); /* it can't be removed by a name that is too long, either */

        if (r < 0)
                return r;
        if (mkdirat(what->dirfd, what->name, 0700) < 0)
                return err_sys(err, errno, "create the folder of %s %s", what->kind, what->id);
        return make_dataset(s, what, from, err);
}

/* A context that has failed is of no use any more. Sets errno. */
static int try_mount(const char *name, bool read_only, const char *label) {
        _cleanup_(fd_closep) int fs = fsopen("zfs", FSOPEN_CLOEXEC);

        if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "source", name, 0) < 0 ||
            (read_only && fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0) ||
            (label && fsconfig(fs, FSCONFIG_SET_STRING, "context", label, 0) < 0) ||
            fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return -1;
        return fsmount(fs, FSMOUNT_CLOEXEC, read_only ? MOUNT_ATTR_RDONLY : 0);
}

/* ZFS finds a dataset's mount only between its beginning and its end, and refuses a second one until then. */
static int mount_dataset(const char *name, bool read_only, const char *label, int *ret_fd, struct err *err) {
        const struct timespec wait = { .tv_nsec = BUSY_WAIT_MS * 1000000L };

        for (int i = 0;; i++) {
                *ret_fd = try_mount(name, read_only, label);
                if (*ret_fd >= 0)
                        return 0;
                if (errno != EBUSY || i == BUSY_TRIES)
                        return err_sys(err, errno, "mount dataset %s", name);
                (void) nanosleep(&wait, NULL);
        }
}

static int zfs_mount(struct snapshotter *s, const struct tree *what, bool sealed, const char *label, int *ret_fd,
                     struct err *err) {
        char name[NAME_MAX_LEN + 1];
        int r = dataset_of(s, what, sealed ? SEALED : "", name, err);

        return r == 0 ? mount_dataset(name, sealed, label, ret_fd, err) : r;
}

static int zfs_open(struct snapshotter *s, const struct tree *what, bool sealed, int *ret_fd, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        int r = zfs_mount(s, what, sealed, NULL, &fd, err);

        if (r < 0)
                return r;
        *ret_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return *ret_fd < 0 ? err_sys(err, errno, "open the dataset of %s %s", what->kind, what->id) : 0;
}

static int zfs_seal(struct snapshotter *s, const struct tree *what, struct err *err) {
        char name[NAME_MAX_LEN + 1];
        int r = dataset_of(s, what, SEALED, name, err);

        return r == 0 ? must_run((const char *const[]){ "snapshot", name, NULL }, name, NULL, err) : r;
}

/* --- removal ------------------------------------------------------------------------------------------------------ */

/* 0, 1 when there are clones of it, or an error. */
static int destroy(const char *name, struct err *err) {
        const struct timespec wait = { .tv_nsec = BUSY_WAIT_MS * 1000000L };
        const char *const argv[] = { "destroy", "-r", name, NULL };

        for (int i = 0;; i++) {
                _cleanup_strbuf_ struct strbuf said = STRBUF(4096);
                int r = run(argv, NULL, &said, err);

                if (r <= 0 || strstr(strbuf_str(&said), "does not exist"))
                        return r < 0 ? r : 0;
                if (strstr(strbuf_str(&said), "dependent clones"))
                        return 1;
                if (i == BUSY_TRIES || !strstr(strbuf_str(&said), "busy"))
                        return raise_said(&said, "destroy", name, err);
                (void) nanosleep(&wait, NULL);
        }
}

/* A dataset that is to go once its clones have, and the folder that stands for it. */
struct waiting {
        int dirfd; /* -1: no folder */
        char name[NAME_MAX_LEN + 1];
};

static void wait_for_clones(struct snapshotter *s, const char *dataset, const struct tree *what) {
        struct waiting *w = xnew(struct waiting);

        w->dirfd = what ? openat(what->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        if (what)
                (void) snprintf(w->name, sizeof(w->name), "%s", what->name);
        log_debug("a dataset waits for its clones to go", "dataset", dataset, NULL);
        free(map_set(s->waiting, dataset, w));
}

/* Is one less waiting? */
static bool retry_one(struct snapshotter *s) {
        const char *key;
        void *value;
        struct err err;

        for (size_t it = 0; map_next(s->waiting, &it, &key, &value);) {
                struct waiting *w = value;

                if (destroy(key, &err) != 0)
                        continue;
                if (w->dirfd >= 0 && fs_remove_tree(w->dirfd, w->name, &err) < 0)
                        log_warn("the folder of a dataset stays behind until the next start", "dataset", key, "error",
                                 err.msg, NULL);
                (void) map_take(s->waiting, key);
                fd_close(w->dirfd);
                free(w);
                return true;
        }
        return false;
}

/* Two images that share a layer may go at once, and the layer before the other's last one: then it waits for that. */
static int zfs_remove(struct snapshotter *s, const struct tree *what, struct err *err) {
        char name[NAME_MAX_LEN + 1];
        struct stat st;
        int r = dataset_of(s, what, "", name, err);

        if (r < 0)
                return r;
        if (fstatat(what->dirfd, what->name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
                return 0; /* not even begun */
        (void) pthread_mutex_lock(&s->lock);
        r = destroy(name, err);
        if (r == 1)
                wait_for_clones(s, name, what);
        if (r == 0)
                r = fs_remove_tree(what->dirfd, what->name, err);
        while (r == 0 && retry_one(s))
                ;
        (void) pthread_mutex_unlock(&s->lock);
        return r < 0 ? r : 0;
}

static void zfs_stop(struct snapshotter *s) {
        const char *key;
        void *value;

        for (size_t it = 0; map_next(s->waiting, &it, &key, &value);) {
                fd_close(((struct waiting *) value)->dirfd);
                free(value);
        }
}

/* --- start -------------------------------------------------------------------------------------------------------- */

/* The one that the store itself is on has one for us. */
static int find_dataset(struct snapshotter *s, const char *path, struct err *err) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(4096);
        const char *const argv[] = { "list", "-H", "-o", "name", path, NULL };
        size_t size, len;
        int r = must_run(argv, path, &out, err);

        if (r < 0)
                return err_wrap(err, "find the dataset of the store; zfs-dataset in the configuration can name one");
        len = strcspn(strbuf_str(&out), "\n");
        size = len + sizeof("/proxmox-lxcri");
        s->dataset = xcalloc(1, size);
        (void) snprintf(s->dataset, size, "%.*s/proxmox-lxcri", (int) len, strbuf_str(&out));
        return 0;
}

/* Two stores in one dataset would take each other's for a crash's. */
static int claim(struct snapshotter *s, const char *path, struct err *err) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(8192), said = STRBUF(4096);
        const char *const get[] = { "get", "-H", "-o", "value", OWNER, s->dataset, NULL };
        char owner[4200];
        int r = run(get, &out, &said, err);

        if (r < 0)
                return r;
        (void) snprintf(owner, sizeof(owner), "%s=%.4095s", OWNER, path);
        if (r == 1 && strstr(strbuf_str(&said), "does not exist")) {
                const char *const create[] = { "create", "-p", "-o", "mountpoint=none", "-o", owner, s->dataset, NULL };

                return must_run(create, s->dataset, NULL, err);
        }
        if (r == 1)
                return raise_said(&said, "get", s->dataset, err);
        if (strncmp(strbuf_str(&out), path, strlen(path)) == 0 && strbuf_str(&out)[strlen(path)] == '\n')
                return 0;
        return err_set(err, ERR_PRECONDITION,
                       "dataset %s is not this store's: give another name as zfs-dataset, or say that nobody else uses "
                       "it: zfs set %s %s",
                       s->dataset, owner, s->dataset);
}

/* All of ours that are there: "layer-3", "layer-3@sealed", "snapshot-ID". */
static int load(struct snapshotter *s, struct map *ret, struct err *err) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(LIST_MAX);
        const char *const argv[] = { "list", "-H", "-o", "name", "-t", "filesystem,snapshot", "-r", s->dataset, NULL };
        int r = must_run(argv, s->dataset, &out, err);
        char *rest, *line;

        if (r < 0)
                return r;
        (void) strbuf_str(&out);
        rest = out.data;
        while ((line = strsep(&rest, "\n"))) {
                const char *name = str_after(line, s->dataset);

                if (name && *name == '/')
                        (void) map_set(ret, name + 1, s);
        }
        return 0;
}

static bool is_there(int layers_fd, const char *format, const char *name) {
        char path[2 * NAME_MAX_LEN + 64];
        struct stat st;

        (void) snprintf(path, sizeof(path), "%s/%s", format, name);
        return fstatat(layers_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* "ID.NUMBER", as snapshot_tree() calls it, or "ID.vNAME", as snapshot_volume_tree() does. */
static bool is_another_tree(int layers_fd, const char *id) {
        const char *dot = strrchr(id, '.');
        char path[2 * NAME_MAX_LEN + 32];

        if (!dot)
                return false;
        (void) snprintf(path, sizeof(path), "%.*s/%s.%s", (int) (dot - id), id, dot[1] == 'v' ? "volume" : "upper",
                        dot + (dot[1] == 'v' ? 2 : 1));
        return dot != id && is_there(layers_fd, "../snapshots", path);
}

static bool has_folder(int layers_fd, const char *name) {
        const char *number = str_after(name, "layer-"), *id = str_after(name, "snapshot-");
        char gone[NAME_MAX_LEN + 8];

        if (number)
                return is_there(layers_fd, ".", number) || is_there(layers_fd, "tmp", number);
        if (!id)
                return true; /* not of ours */
        (void) snprintf(gone, sizeof(gone), ".gone-%.*s", NAME_MAX_LEN, id);
        return is_there(layers_fd, "../snapshots", id) || is_there(layers_fd, "../snapshots", gone) ||
               is_another_tree(layers_fd, id);
}

static void sweep(struct snapshotter *s, int layers_fd, const struct map *there) {
        const char *name;
        char full[NAME_MAX_LEN + 1];
        struct err err;

        for (size_t it = 0; map_next(there, &it, &name, NULL);) {
                int r;

                if (strchr(name, '@') || has_folder(layers_fd, name) ||
                    snprintf(full, sizeof(full), "%s/%s", s->dataset, name) > NAME_MAX_LEN)
                        continue;
                r = destroy(full, &err);
                if (r < 0)
                        log_warn("a left-over dataset can't be removed", "dataset", full, "error", err.msg, NULL);
                else if (r == 1)
                        wait_for_clones(s, full, NULL);
        }
        while (retry_one(s))
                ;
}

/* A layer is there when its snapshot is. */
static int match_layers(int layers_fd, const struct map *there, struct err *err) {
        int copy = openat(layers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(closedirp) DIR *d = copy < 0 ? NULL : fdopendir(copy);
        char sealed[NAME_MAX_LEN + 32];
        struct dirent *e;
        uint64_t n;

        if (!d) {
                int r = err_sys(err, errno, "list folder of layers");
                fd_close(copy);
                return r;
        }
        while ((e = readdir(d))) {
                if (!str_to_u64(e->d_name, &n))
                        continue;
                (void) snprintf(sealed, sizeof(sealed), "layer-%s" SEALED, e->d_name);
                if (!map_get(there, sealed) && unlinkat(layers_fd, e->d_name, AT_REMOVEDIR) < 0)
                        return err_sys(err, errno, "remove layer %s, of which there is no snapshot", e->d_name);
        }
        return 0;
}

static int zfs_start(struct snapshotter *s, int layers_fd, struct err *err) {
        _cleanup_(map_freep) struct map *there = map_new();
        char path[4096], link[40];
        struct statfs st;
        ssize_t n;
        int r = 0;

        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", layers_fd);
        n = readlink(link, path, sizeof(path) - 1);
        if (n < 0 || fstatfs(layers_fd, &st) < 0)
                return err_sys(err, errno, "look at the folder of layers");
        path[n] = '\0';
        if (!s->dataset && (unsigned) st.f_type != MAGIC)
                return err_set(err, ERR_PRECONDITION,
                               "the images' folder is not on ZFS: set zfs-dataset in the configuration");
        if (!s->dataset)
                r = find_dataset(s, path, err);
        if (r == 0)
                r = claim(s, path, err);
        if (r == 0)
                r = load(s, there, err);
        if (r == 0)
                r = match_layers(layers_fd, there, err);
        if (r == 0)
                sweep(s, layers_fd, there);
        return r;
}

/* --- writable layers ---------------------------------------------------------------------------------------------- */

static int count_inodes(struct snapshotter *s, const struct tree *what, bool sealed, uint64_t *ret, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        struct statvfs st;
        int r = zfs_open(s, what, sealed, &fd, err);

        if (r < 0)
                return r;
        if (fstatvfs(fd, &st) < 0)
                return err_sys(err, errno, "measure the dataset of %s %s", what->kind, what->id);
        *ret = st.f_files - st.f_ffree;
        return 0;
}

/* By its mount it would be in units of 128 KiB. */
static int count_bytes(struct snapshotter *s, const struct tree *what, uint64_t *ret, struct err *err) {
        _cleanup_strbuf_ struct strbuf out = STRBUF(64);
        char name[NAME_MAX_LEN + 1], *end;
        const char *const argv[] = { "get", "-Hp", "-o", "value", "used", name, NULL };
        int r = dataset_of(s, what, "", name, err);

        if (r == 0)
                r = must_run(argv, name, &out, err);
        if (r < 0)
                return r;
        *ret = strtoull(strbuf_str(&out), &end, 10);
        return *end == '\n'
                       ? 0
                       : err_set(err, ERR_INTERNAL, "zfs get used %s: \"%s\" is no number", name, strbuf_str(&out));
}

/* What a clone has that its image has not: ZFS keeps count. A few seconds old, as it counts when it writes to disk. */
static int zfs_usage(struct images *i, const struct writable *w, const atomic_bool *give_up, uint64_t *ret_bytes,
                     uint64_t *ret_inodes, struct err *err) {
        struct snapshotter *s = layers_snapshotter(images_layers(i));
        const struct tree top = layer_tree(images_layers(i), w->layers[w->n_layers - 1]);
        uint64_t inodes = 0, image_inodes = 0;
        int r = count_bytes(s, &w->tree, ret_bytes, err);

        (void) give_up;
        if (r == 0)
                r = count_inodes(s, &w->tree, false, &inodes, err);
        if (r == 0)
                r = count_inodes(s, &top, true, &image_inodes, err);
        if (r == 0)
                *ret_inodes = inodes > image_inodes ? inodes - image_inodes : 0;
        return r;
}

static int zfs_check_idmap(struct images *i, int userns_fd, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        int r = mount_dataset(layers_snapshotter(images_layers(i))->dataset, false, NULL, &fd, err);

        return r == 0 ? whole_map_owners(fd, userns_fd, err) : r;
}

const struct snapshotter_ops snapshotter_zfs = {
        .name = "zfs",
        .whole = true,
        .elsewhere = true,
        .start = zfs_start,
        .stop = zfs_stop,
        .make = zfs_make,
        .open = zfs_open,
        .mount = zfs_mount,
        .seal = zfs_seal,
        .remove = zfs_remove,
        .writable_make = whole_writable_make,
        .writable_mount = whole_writable_mount,
        .writable_usage = zfs_usage,
        .check_idmap = zfs_check_idmap,
};
