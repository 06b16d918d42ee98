/* SPDX-License-Identifier: Apache-2.0 */
/* image-mount - images mounted on the host for people: a snapshot each, mounted read-only or not. The record in the
 * store names the mount before it is placed, so that a start after a crash knows it by its id, wherever it is by now;
 * one whose mount is not there goes, with its snapshot and the holds on layers. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "image/images.h"
#include "image/json.h"
#include "image/mountpoint.h"

/* Of <linux/mount.h>, which can't be included beside <sys/mount.h> everywhere. */
#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 0x00000001
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#endif
#ifndef MOVE_MOUNT_T_EMPTY_PATH
#define MOVE_MOUNT_T_EMPTY_PATH 0x00000040
#endif
struct attributes { /* struct mount_attr */
        uint64_t set, clear, propagation, userns_fd;
};

enum { MOUNTS_MAX = 1000, ARENA_BYTES = 1 << 20, BOOT_ID_MAX = 64 };

static const char snapshot_prefix[] = "image-mount-", record_prefix[] = "image-mount/", folder[] = "mounts";

/* One change at a time: a snapshot must not be removed twice at once. */
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;

struct record {
        const char *id; /* of the snapshot */
        const char *image_id, *boot_id, *path;
        uint64_t mount, major, minor;
        bool writable, own_folder; /* of ours: it goes with the mount */
};

bool snapshot_is_mounted_image(const char *id) {
        return str_after(id, snapshot_prefix) != NULL;
}

static int boot_id(struct arena *arena, const char **ret, struct err *err) {
        _cleanup_(freep) char *text = NULL;
        int r = fs_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &text, NULL, err);

        if (r == 0)
                *ret = arena_strndup(arena, text, strcspn(text, "\n"));
        return r;
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static const char *key_of(const char *id, struct arena *arena) {
        return arena_printf(arena, "%s%s", record_prefix, id);
}

static int put_record(struct images *s, const struct record *rec, struct arena *arena, struct err *err) {
        json_t *o = json_pack("{s:s s:s s:s s:I s:I s:I s:b s:b}", "image", rec->image_id, "boot", rec->boot_id, "path",
                              rec->path, "mount", (json_int_t) rec->mount, "major", (json_int_t) rec->major, "minor",
                              (json_int_t) rec->minor, "writable", rec->writable, "own_folder", rec->own_folder);
        const char *text;

        if (!o)
                return err_set(err, ERR_INVALID, "the path is not UTF-8");
        text = json_to_text(o, arena);
        return store_put(images_store(s), STORE_META, key_of(rec->id, arena), text, strlen(text), err);
}

static int read_record(const char *id, const void *value, size_t len, struct arena *arena, struct record *ret,
                       struct err *err) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        int r = json_parse(value, len, "record of a mount", &o, err);

        *ret = (struct record){ .id = arena_strdup(arena, id) };
        if (r == 0)
                r = json_get_string(o, "image", arena, &ret->image_id, err);
        if (r == 0)
                r = json_get_string(o, "boot", arena, &ret->boot_id, err);
        if (r == 0)
                r = json_get_string(o, "path", arena, &ret->path, err);
        if (r == 0)
                r = json_get_u64(o, "mount", &ret->mount, err);
        if (r == 0)
                r = json_get_u64(o, "major", &ret->major, err);
        if (r == 0)
                r = json_get_u64(o, "minor", &ret->minor, err);
        if (r < 0)
                return r;
        ret->writable = json_is_true(json_object_get(o, "writable"));
        ret->own_folder = json_is_true(json_object_get(o, "own_folder"));
        return 0;
}

struct listing {
        struct arena *arena;
        struct record *list;
        size_t n;
};

/* What can't be read is a record all the same, of a mount that isn't there: so it goes at the next start. */
static int list_one(const char *key, const void *value, size_t len, void *userdata) {
        struct listing *l = userdata;
        const char *id = str_after(key, record_prefix);
        struct err err;

        if (!id || l->n == MOUNTS_MAX)
                return 0;
        if (read_record(id, value, len, l->arena, &l->list[l->n], &err) < 0) {
                log_warn("the record of a mounted image can't be read", "mount", id, "error", err.msg, NULL);
                l->list[l->n] =
                        (struct record){ .id = arena_strdup(l->arena, id), .image_id = "", .boot_id = "", .path = "" };
        }
        l->n++;
        return 0;
}

static int list_records(struct images *s, struct arena *arena, struct listing *ret, struct err *err) {
        *ret = (struct listing){ .arena = arena, .list = arena_array(arena, struct record, MOUNTS_MAX) };
        return store_each(images_store(s), STORE_META, list_one, ret, err);
}

/* Where the mount is by now; NULL: nowhere. */
static int find_mount(const struct record *rec, struct arena *arena, char **ret, struct err *err) {
        const struct mount_id id = { rec->mount, (unsigned) rec->major, (unsigned) rec->minor };
        const char *boot = NULL;
        int r = boot_id(arena, &boot, err);

        *ret = NULL;
        return r < 0 || !str_eq(boot, rec->boot_id) ? r : mountpoint_of_id(&id, ret, err);
}

/* --- one goes ----------------------------------------------------------------------------------------------------- */

static int forget(struct images *s, const struct record *rec, struct arena *arena, struct err *err) {
        int r = snapshot_remove(s, rec->id, err);

        if (r == 0 && rec->own_folder &&
            unlinkat(images_rootfd(s), arena_printf(arena, "%s/%s", folder, rec->id), AT_REMOVEDIR) < 0 &&
            errno != ENOENT)
                r = err_sys(err, errno, "remove %s", rec->path);
        if (rec->own_folder) /* the last one's */
                (void) unlinkat(images_rootfd(s), folder, AT_REMOVEDIR);
        return r == 0 ? store_delete(images_store(s), STORE_META, key_of(rec->id, arena), err) : r;
}

static int unmount(struct images *s, const struct record *rec, struct arena *arena, struct err *err) {
        _cleanup_(freep) char *path = NULL;
        int r = find_mount(rec, arena, &path, err);

        if (r < 0)
                return r;
        if (path && umount2(path, UMOUNT_NOFOLLOW) < 0)
                return errno == EBUSY ? err_set(err, ERR_PRECONDITION,
                                                "%s is in use: end what has files of it open, or "
                                                "its working folder in it (\"fuser -vm %s\")",
                                                path, path)
                                      : err_sys(err, errno, "unmount %s", path);
        return forget(s, rec, arena, err);
}

/* A path is that which was asked for, or where it is by now, which lists tell. */
static int is_meant(const struct record *rec, const char *what, const struct image *image, struct arena *arena,
                    bool *ret, struct err *err) {
        _cleanup_(freep) char *place = NULL;
        int r = 0;

        *ret = !what || str_eq(image ? image->id : what, image ? rec->image_id : rec->path);
        if (!*ret && !image) {
                r = find_mount(rec, arena, &place, err);
                *ret = str_eq(what, place);
        }
        return r;
}

int images_unmount(struct images *s, const char *what, size_t *ret_n, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
        struct image *image = NULL;
        struct listing l;
        int r;

        *ret_n = 0;
        if (what && what[0] != '/') {
                r = images_get(s, what, arena, &image, err);
                if (r < 0)
                        return r;
        }
        (void) pthread_mutex_lock(&changing);
        r = list_records(s, arena, &l, err);
        for (size_t i = 0; r == 0 && i < l.n; i++) {
                bool meant;

                r = is_meant(&l.list[i], what, image, arena, &meant, err);
                if (r < 0 || !meant)
                        continue;
                r = unmount(s, &l.list[i], arena, err);
                if (r == 0)
                        ++*ret_n;
        }
        (void) pthread_mutex_unlock(&changing);
        if (r == 0 && what && *ret_n == 0)
                r = err_set(err, ERR_NOT_FOUND, "%s %.300s is mounted: \"proxmox-lxcri image mount\" lists them",
                            image ? "nothing of image" : "no image at", what);
        return r;
}

/* --- one more ----------------------------------------------------------------------------------------------------- */

static int own_folder(struct images *s, const char *id, struct arena *arena, int *ret, struct err *err) {
        const char *path = arena_printf(arena, "%s/%s", folder, id);

        if (mkdirat(images_rootfd(s), folder, 0700) < 0 && errno != EEXIST)
                return err_sys(err, errno, "create the folder of mounts");
        if (mkdirat(images_rootfd(s), path, 0700) < 0)
                return err_sys(err, errno, "create the folder of a mount");
        *ret = openat(images_rootfd(s), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return *ret < 0 ? err_sys(err, errno, "open the folder of a mount") : 0;
}

/* @mount_fd: detached. Its record is there before it is. */
static int place(struct images *s, struct record *rec, int mount_fd, int target_fd, struct arena *arena,
                 struct err *err) {
        const struct attributes read_only = { .set = MOUNT_ATTR_RDONLY };
        struct mount_id id;
        int r;

        if (!rec->writable &&
            syscall(SYS_mount_setattr, mount_fd, "", AT_EMPTY_PATH, &read_only, sizeof(read_only)) < 0)
                return err_sys(err, errno, "make the mount read-only");
        r = mount_id_of(mount_fd, &id, err);
        if (r < 0)
                return r;
        rec->mount = id.id;
        rec->major = id.major;
        rec->minor = id.minor;
        r = put_record(s, rec, arena, err);
        if (r < 0)
                return r;
        return syscall(SYS_move_mount, mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
                               0
                       ? err_sys(err, errno, "mount at %s", rec->path)
                       : 0;
}

static int mount_it(struct images *s, struct record *rec, int target_fd, struct arena *arena, struct err *err) {
        const struct snapshot_args how = { .userns_fd = -1 };
        _cleanup_(fd_closep) int mount_fd = -1, own_fd = -1;
        int r = 0;

        if (rec->own_folder) {
                r = own_folder(s, rec->id, arena, &own_fd, err);
                target_fd = own_fd;
        }
        if (r == 0)
                r = snapshot_create(s, rec->id, rec->image_id, NULL, err);
        if (r == 0)
                r = snapshot_mount(s, rec->id, &how, &mount_fd, err);
        return r == 0 ? place(s, rec, mount_fd, target_fd, arena, err) : r;
}

int images_mount(struct images *s, const struct image_mount_args *args, struct arena *arena, const char **ret_path,
                 struct err *err) {
        struct record rec = { .path = args->path, .writable = args->writable, .own_folder = args->target_fd < 0 };
        char random[ID_LEN + 1];
        struct image *image;
        struct listing l;
        struct err later;
        int r = images_get(s, args->image, arena, &image, err);

        if (r == 0)
                r = boot_id(arena, &rec.boot_id, err);
        if (r < 0)
                return r;
        id_new(random);
        rec.id = arena_printf(arena, "%s%.16s", snapshot_prefix, random);
        rec.image_id = image->id;
        if (rec.own_folder)
                rec.path = arena_printf(arena, "%s/%s/%s", images_root(s), folder, rec.id);
        (void) pthread_mutex_lock(&changing);
        r = list_records(s, arena, &l, err);
        if (r == 0 && l.n == MOUNTS_MAX)
                r = err_set(err, ERR_EXHAUSTED, "%d images are mounted already", MOUNTS_MAX);
        if (r == 0) {
                r = mount_it(s, &rec, args->target_fd, arena, err);
                if (r < 0 && forget(s, &rec, arena, &later) < 0)
                        log_warn("a mount that failed stays behind until the next start", "mount", rec.id, "error",
                                 later.msg, NULL);
        }
        (void) pthread_mutex_unlock(&changing);
        if (r < 0)
                return err_wrap(err, "mount image %.300s", args->image);
        *ret_path = rec.path;
        return 0;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

int images_mounts(struct images *s, struct arena *arena, struct image_mount **ret, size_t *ret_n, struct err *err) {
        struct listing l;
        int r = list_records(s, arena, &l, err);

        if (r < 0)
                return r;
        *ret = arena_array(arena, struct image_mount, l.n + 1);
        for (size_t i = 0; i < l.n; i++) {
                const struct record *rec = &l.list[i];
                _cleanup_(freep) char *path = NULL;

                r = find_mount(rec, arena, &path, err);
                if (r < 0)
                        return r;
                (*ret)[i] = (struct image_mount){ .image_id = rec->image_id,
                                                  .path = path ? arena_strdup(arena, path) : rec->path,
                                                  .writable = rec->writable,
                                                  .mounted = path != NULL };
        }
        *ret_n = l.n;
        return 0;
}

/* At a start: one that can't be removed is no reason not to serve. */
static void forget_lost(struct images *s, const struct record *rec, struct arena *arena) {
        struct err err;

        if (forget(s, rec, arena, &err) < 0)
                log_warn("what is left of a mounted image stays until the next start", "mount", rec->id, "error",
                         err.msg, NULL);
}

/* A snapshot without a record is one of a crash before there was a mount. */
static int drop_unknown(struct images *s, const struct listing *known, struct arena *arena, struct err *err) {
        const char **list;
        int r = snapshot_list(s, arena, &list, err);

        for (; r == 0 && *list; list++) {
                const struct record half = { .id = *list, .path = *list, .own_folder = true };
                size_t i = 0;

                while (i < known->n && !str_eq(known->list[i].id, *list))
                        i++;
                if (snapshot_is_mounted_image(*list) && i == known->n)
                        forget_lost(s, &half, arena);
        }
        return r;
}

int images_mounts_reconcile(struct images *s, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(8 * ARENA_BYTES);
        struct listing l;
        int r = list_records(s, arena, &l, err);

        for (size_t i = 0; r == 0 && i < l.n; i++) {
                _cleanup_(freep) char *path = NULL;

                r = find_mount(&l.list[i], arena, &path, err);
                if (r == 0 && !path)
                        forget_lost(s, &l.list[i], arena);
        }
        if (r == 0)
                r = drop_unknown(s, &l, arena, err);
        return r < 0 ? err_wrap(err, "tidy up mounted images") : 0;
}
