/* SPDX-License-Identifier: Apache-2.0 */
/* snapshotter - which one it is: what the configuration says, or what fits; and never another than that whose layers
 * are there already. */
#include "image/snapshotter.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "image/snapshot-mount.h"

enum { BTRFS_MAGIC = 0x9123683E, ZFS_MAGIC = 0x2FC12FC1 };

static const struct snapshotter_ops *const all[] = { &snapshotter_overlay, &snapshotter_plain, &snapshotter_btrfs,
                                                     &snapshotter_zfs };

static const struct snapshotter_ops *find(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                if (str_eq(all[i]->name, name))
                        return all[i];
        return NULL;
}

bool snapshotter_is_known(const char *name) {
        return str_eq(name, "auto") || find(name);
}

bool snapshotter_idmap_is_known(const char *name) {
        return str_eq(name, "auto") || str_eq(name, "mount") || str_eq(name, "chown");
}

/* --- what fits ---------------------------------------------------------------------------------------------------- */

/* Overlay takes some file systems as upper that then fail it (ZFS before 2.2), or mounts them read-only. */
static int use_overlay(int mount_fd, struct err *err) {
        struct statvfs st;

        if (fstatvfs(mount_fd, &st) < 0)
                return err_sys(err, errno, "look at the overlay");
        if (st.f_flag & ST_RDONLY)
                return err_set(err, ERR_PRECONDITION, "overlay mounts it read-only");
        if (mkdirat(mount_fd, "made", 0700) < 0 || unlinkat(mount_fd, "there", 0) < 0)
                return err_sys(err, errno, "write to the overlay");
        return 0;
}

static int try_overlay(int layers_fd, struct err *err) {
        static const char *const folders[] = { ".try",       ".try/lower", ".try/lower/there",
                                               ".try/empty", ".try/upper", ".try/work" };
        static const char *const layers[] = { ".try/lower", ".try/empty" };
        char path[64];
        struct overlay_args args = { .layers_fd = layers_fd,
                                     .layers_path = path,
                                     .layers = layers,
                                     .n_layers = ELEMENTSOF(layers),
                                     .upper = ".try/upper",
                                     .work = ".try/work",
                                     .way = OVERLAY_STRING };
        _cleanup_(fd_closep) int fd = -1;
        int r;

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", layers_fd);
        for (size_t i = 0; i < ELEMENTSOF(folders); i++)
                if ((i == 2 ? mknodat(layers_fd, folders[i], S_IFREG | 0600, 0)
                            : mkdirat(layers_fd, folders[i], 0700)) < 0)
                        return err_sys(err, errno, "create %s", folders[i]);
        r = overlay_mount(&args, &fd, err);
        return r < 0 ? r : use_overlay(fd, err);
}

static bool overlay_works(int layers_fd) {
        struct err err, later;
        int r = fs_remove_tree(layers_fd, ".try", &err);

        if (r == 0)
                r = try_overlay(layers_fd, &err);
        if (r < 0)
                log_info("overlay can't have its layers here", "error", err.msg, NULL);
        if (fs_remove_tree(layers_fd, ".try", &later) < 0)
                log_warn("what was made to try overlay stays behind", "error", later.msg, NULL);
        return r == 0;
}

static const struct snapshotter_ops *choose(const struct snapshotter_conf *conf, int layers_fd) {
        struct statfs st;

        if (overlay_works(layers_fd))
                return &snapshotter_overlay;
        if (fstatfs(layers_fd, &st) < 0)
                return &snapshotter_plain;
        if ((unsigned) st.f_type == ZFS_MAGIC || !str_empty(conf->zfs_dataset))
                return &snapshotter_zfs;
        if ((unsigned) st.f_type == BTRFS_MAGIC)
                return &snapshotter_btrfs;
        return &snapshotter_plain;
}

/* --- what is there ------------------------------------------------------------------------------------------------ */

/* Is anything under @path? */
static bool has_entries(int dirfd, const char *path) {
        int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *e;

        if (!d)
                fd_close(fd);
        while (d && (e = readdir(d)))
                if (e->d_name[0] != '.')
                        return true;
        return false;
}

/* Whose layers are there: "" when there are none. Overlay's have no note. */
static int read_note(int layers_fd, char ret[16], struct err *err) {
        _cleanup_(freep) char *said = NULL;
        bool used = has_entries(layers_fd, "by-chain") || has_entries(layers_fd, "../snapshots");
        int r;

        (void) snprintf(ret, 16, "%s", used ? snapshotter_overlay.name : "");
        if (!used)
                return 0;
        r = fs_read_file(layers_fd, "snapshotter", 15, &said, NULL, err);
        if (r == 0)
                (void) snprintf(ret, 16, "%s", said);
        return r < 0 && err->sys_errno == ENOENT ? 0 : r;
}

static int pick(const struct snapshotter_conf *conf, int layers_fd, const struct snapshotter_ops **ret,
                struct err *err) {
        const char *wanted = conf->name ?: "auto";
        bool automatic = str_eq(wanted, "auto");
        char said[16];
        int r = read_note(layers_fd, said, err);

        if (r < 0)
                return r;
        if (!automatic && *said && !str_eq(said, wanted))
                return err_set(err, ERR_PRECONDITION,
                               "snapshotter \"%s\" is wanted, but the images and containers here are \"%s\"'s: remove "
                               "them first, or leave it at \"%s\" or \"auto\"",
                               wanted, said, said);
        *ret = automatic && !*said ? choose(conf, layers_fd) : find(automatic ? said : wanted);
        if (!*ret)
                return err_set(err, ERR_INVALID, "there is no snapshotter \"%s\"", automatic ? said : wanted);
        if (*ret == &snapshotter_overlay)
                return unlinkat(layers_fd, "snapshotter", 0) < 0 && errno != ENOENT
                               ? err_sys(err, errno, "remove the snapshotter's note")
                               : 0;
        return fs_write_atomic(layers_fd, "snapshotter", (*ret)->name, strlen((*ret)->name), 0600, true, err);
}

int snapshotter_new(const struct snapshotter_conf *conf, int layers_fd, struct snapshotter **ret, struct err *err) {
        static const struct snapshotter_conf overlay = { .name = "overlay" };
        _cleanup_(snapshotter_freep) struct snapshotter *s = xnew(struct snapshotter);
        int r = pick(conf ?: &overlay, layers_fd, &s->ops, err);

        (void) pthread_mutex_init(&s->lock, NULL);
        s->waiting = map_new();
        if (conf && !str_empty(conf->zfs_dataset))
                s->dataset = xstrdup(conf->zfs_dataset);
        s->quota_bytes = conf ? conf->quota_bytes : 0;
        s->must_map = conf && str_eq(conf->idmap, "mount");
        atomic_init(&s->shifts, conf && str_eq(conf->idmap, "chown"));
        if (r == 0 && s->quota_bytes && s->ops != &snapshotter_zfs)
                r = err_set(err, ERR_PRECONDITION,
                            "container-quota: writable layers of snapshotter %s can't be limited, zfs' can",
                            s->ops->name);
        if (r == 0 && s->ops->start)
                r = s->ops->start(s, layers_fd, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

struct snapshotter *snapshotter_free(struct snapshotter *s) {
        if (!s)
                return NULL;
        if (s->ops && s->ops->stop)
                s->ops->stop(s);
        map_free(s->waiting);
        (void) pthread_mutex_destroy(&s->lock);
        free(s->dataset);
        free(s);
        return NULL;
}
