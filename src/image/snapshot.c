/* SPDX-License-Identifier: Apache-2.0 */
#include "image/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "image/images.h"
#include "image/json.h"
#include "image/record-json.h"
#include "image/snapshotter.h"

enum { ARENA_BYTES = 1 << 20, MAX_ID = 128 };

/* An id becomes the name of a folder, and a part of mount options. */
static int check_id(const char *id, struct err *err) {
        size_t n = strlen(id);

        if (n == 0 || n > MAX_ID || id[0] == '.' ||
            strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != n)
                return err_set(err, ERR_INVALID, "\"%.140s\" is no id for a snapshot", id);
        return 0;
}

int snapshots_open(struct images *s, int *ret, struct err *err) {
        int root = images_rootfd(s);

        *ret = openat(root, "snapshots", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (*ret < 0 && errno == ENOENT) {
                if (mkdirat(root, "snapshots", 0700) < 0 && errno != EEXIST)
                        return err_sys(err, errno, "create folder of snapshots");
                *ret = openat(root, "snapshots", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        return *ret < 0 ? err_sys(err, errno, "open folder of snapshots") : 0;
}

/* --- the record ------------------------------------------------------------------------------------------------- */

static json_t *list_of(const char *const *strings) {
        json_t *list = json_array();

        if (!list)
                abort();
        for (; *strings; strings++)
                (void) json_array_append_new(list, json_string(*strings));
        return list;
}

/* Takes @o. */
static int put_json(struct images *s, const char *id, json_t *o, struct err *err) {
        _cleanup_(freep) char *text = json_dumps(o, JSON_COMPACT);

        json_decref(o);
        if (!text)
                abort();
        return store_put(images_store(s), STORE_SNAPSHOT, id, text, strlen(text), err);
}

static int put_record(struct images *s, const char *id, const char *image_id, const char *const *layers,
                      const struct id_maps *shifted, struct err *err) {
        json_t *o = json_object();

        if (!o)
                abort();
        (void) json_object_set_new(o, "image", json_string(image_id));
        (void) json_object_set_new(o, "layers", list_of(layers));
        record_put_owners(o, shifted);
        return put_json(s, id, o, err);
}

static int read_record(struct images *s, const char *id, json_t **ret, struct err *err) {
        _cleanup_(freep) void *text = NULL;
        size_t len;
        int r = store_get(images_store(s), STORE_SNAPSHOT, id, &text, &len, err);

        if (r < 0)
                return r == -ERR_NOT_FOUND ? err_set(err, ERR_NOT_FOUND, "no snapshot %s", id) : r;
        *ret = json_loadb(text, len, 0, NULL);
        return *ret ? 0 : err_set(err, ERR_DATA_LOSS, "record of snapshot %s can't be read", id);
}

/* In @arena. */
static int get_record(struct images *s, const char *id, struct arena *arena, struct snapshot_record *ret,
                      struct err *err) {
        json_t *o = NULL;
        int r = read_record(s, id, &o, err);

        if (r < 0)
                return r;
        r = record_snapshot_list(o, "layers", arena, &ret->layers, err);
        if (r == 0)
                r = record_snapshot_list(o, "volumes", arena, &ret->volumes, err);
        if (r == 0)
                r = json_get_string(o, "image", arena, &ret->image, err);
        if (r == 0)
                r = json_get_u64(o, "tree", &ret->tree, err);
        if (r == 0)
                r = record_get_owners(o, arena, &ret->shifted, err);
        json_decref(o);
        return r < 0 ? err_set(err, ERR_DATA_LOSS, "record of snapshot %s can't be read", id) : 0;
}

/* What else it says stays. */
int snapshot_change_record(struct images *s, const char *id, const struct snapshot_record *to, struct err *err) {
        json_t *o = NULL;
        int r = read_record(s, id, &o, err);

        if (r < 0)
                return r;
        (void) json_object_set_new(o, "image", json_string(to->image));
        (void) json_object_set_new(o, "layers", list_of(to->layers));
        (void) json_object_set_new(o, "tree", json_integer((json_int_t) to->tree));
        return put_json(s, id, o, err);
}

int layers_name(struct images *s, const char *const *layers, struct arena *arena, const char ***ret, size_t *ret_n,
                struct err *err) {
        const char **names;
        size_t n = 0;

        while (layers[n])
                n++;
        names = arena_array(arena, const char *, n + 1);
        for (size_t i = 0; i < n; i++) {
                char name[32];
                int r = layer_short_name(images_layers(s), layers[i], name, err);

                if (r < 0)
                        return err_set(err, ERR_DATA_LOSS, "layer %s of the image is gone: pull the image again",
                                       layers[i]);
                names[i] = arena_strdup(arena, name);
        }
        if (n && layers_snapshotter(images_layers(s))->ops->whole) { /* the top one is all */
                names += n - 1;
                n = 1;
        }
        *ret = names;
        *ret_n = n;
        return 0;
}

/* --- folders ----------------------------------------------------------------------------------------------------- */

static int open_snapshot(int snapshots_fd, const char *id, int *ret, struct err *err) {
        *ret = openat(snapshots_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (*ret >= 0)
                return 0;
        return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "no snapshot %s", id)
                               : err_sys(err, errno, "open snapshot %s", id);
}

struct tree snapshot_tree(const char *id, int dirfd, uint64_t number, struct arena *arena) {
        return (struct tree){ .dirfd = dirfd,
                              .kind = "snapshot",
                              .name = number ? arena_printf(arena, "upper.%llu", (unsigned long long) number) : "upper",
                              .id = number ? arena_printf(arena, "%s.%llu", id, (unsigned long long) number) : id };
}

struct tree snapshot_volume_tree(const char *id, int dirfd, const char *layer, struct arena *arena) {
        return (struct tree){ .dirfd = dirfd,
                              .kind = "snapshot",
                              .name = arena_printf(arena, "volume.%s", layer),
                              .id = arena_printf(arena, "%s.v%s", id, layer) };
}

/* False: @name is no tree's. */
static bool number_of_tree(const char *name, uint64_t *ret) {
        const char *rest = str_after(name, "upper");

        *ret = 0;
        return rest && (!*rest || (*rest == '.' && str_to_u64(rest + 1, ret) && *ret > 0));
}

/* All but @keep (-1: all, image volumes' too): more than one is there only after a crash. */
static int remove_trees(struct images *s, int dirfd, const char *id, int64_t keep, struct err *err) {
        struct snapshotter *how = layers_snapshotter(images_layers(s));
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
        int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        _cleanup_(closedirp) DIR *d = copy < 0 ? NULL : fdopendir(copy);
        const struct dirent *e;
        uint64_t number;

        if (!d) {
                r = err_sys(err, errno, "list snapshot %s", id);
                fd_close(copy);
                return r;
        }
        while (r == 0 && (errno = 0, e = readdir(d)))
                if (number_of_tree(e->d_name, &number) && (int64_t) number != keep) {
                        const struct tree tree = snapshot_tree(id, dirfd, number, arena);

                        r = how->ops->remove(how, &tree, err);
                } else if (str_after(e->d_name, "volume.") && keep < 0) {
                        const struct tree tree =
                                snapshot_volume_tree(id, dirfd, str_after(e->d_name, "volume."), arena);

                        r = how->ops->remove(how, &tree, err);
                }
        return r == 0 && errno ? err_sys(err, errno, "list snapshot %s", id) : r;
}

/* Who keeps the writable layer: on a file system of others overlay does, but not one with other owners on disk. */
static const struct snapshotter_ops *keeper(struct images *s, const struct writable *w, bool at_home) {
        const struct snapshotter_ops *own = layers_snapshotter(images_layers(s))->ops;

        if (at_home)
                return &snapshotter_overlay;
        return w->shifted && !own->whole ? &snapshotter_plain : own;
}

/* The folder @name, which is that of the snapshot @id or was, and all in it. */
static int drop(struct images *s, int snapshots_fd, const char *name, const char *id, struct err *err) {
        _cleanup_(fd_closep) int dir = openat(snapshots_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r = dir < 0 ? 0 : remove_trees(s, dir, id, -1, err);

        return r < 0 ? r : fs_remove_tree(snapshots_fd, name, err);
}

struct creation {
        const char *id, *image_id;
        const char *const *layers;
        const struct id_maps *maps;
        int home_fd; /* -1: our own folder */
};

static int fill(struct images *s, int snapshots_fd, const struct creation *c, struct arena *arena, struct err *err) {
        _cleanup_(fd_closep) int dir = -1;
        struct writable w = { .id = c->id, .maps = c->maps, .home_fd = c->home_fd };
        const char **names;
        int r;

        r = open_snapshot(snapshots_fd, c->id, &dir, err);
        if (r == 0)
                r = layers_name(s, c->layers, arena, &names, &w.n_layers, err);
        if (r < 0)
                return r;
        w.dirfd = dir;
        w.tree = snapshot_tree(c->id, dir, 0, arena);
        w.layers = names;
        if (c->home_fd >= 0 && layers_snapshotter(images_layers(s))->ops->elsewhere)
                return err_set(err, ERR_PRECONDITION,
                               "writable layers inside Proxmox containers need images that overlay can stack: set "
                               "snapshotter to overlay or plain");
        if (c->home_fd < 0 && atomic_load(&layers_snapshotter(images_layers(s))->shifts))
                w.shifted = c->maps;
        r = keeper(s, &w, c->home_fd >= 0)->writable_make(s, &w, err);
        return r == 0 ? put_record(s, c->id, c->image_id, c->layers, w.shifted, err) : r;
}

int snapshot_create_at(struct images *s, const char *id, const char *image_id, const struct id_maps *maps, int home_fd,
                       struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
        _cleanup_(fd_closep) int fd = -1;
        const char **layers;
        struct err later;
        int r;

        r = check_id(id, err);
        if (r == 0)
                r = snapshots_open(s, &fd, err);
        if (r == 0)
                r = images_hold(s, image_id, arena, &layers, err);
        if (r < 0)
                return r;
        if (mkdirat(fd, id, 0700) < 0) { /* who makes the folder makes the snapshot */
                r = errno == EEXIST ? err_set(err, ERR_EXISTS, "snapshot %s exists", id)
                                    : err_sys(err, errno, "create snapshot %s", id);
        } else {
                struct creation c = { id, image_id, layers, maps, home_fd };

                r = fill(s, fd, &c, arena, err);
                if (r < 0 && drop(s, fd, id, id, &later) < 0)
                        log_warn("can't remove a half-made snapshot", "snapshot", id, "error", later.msg, NULL);
                if (r < 0)
                        (void) err_wrap(err, "create snapshot %s", id);
        }
        if (r < 0 && images_release(s, layers, &later) < 0)
                log_warn("can't release layers", "snapshot", id, "error", later.msg, NULL);
        return r;
}

int snapshot_create(struct images *s, const char *id, const char *image_id, const struct id_maps *maps,
                    struct err *err) {
        return snapshot_create_at(s, id, image_id, maps, -1, err);
}

static void note_use(struct images *s, const char *id) {
        json_t *o = NULL;
        const char *image;
        struct err err;

        if (read_record(s, id, &o, &err) < 0)
                return;
        image = json_string_value(json_object_get(o, "image"));
        if (image)
                images_note_use(s, image);
        json_decref(o);
}

int snapshot_remove(struct images *s, const char *id, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
        _cleanup_(fd_closep) int fd = -1;
        struct snapshot_record record = { 0 };
        char gone[MAX_ID + 8];
        int r, known;

        r = check_id(id, err);
        if (r == 0)
                r = snapshots_open(s, &fd, err);
        if (r < 0)
                return r;
        known = get_record(s, id, arena, &record, err);
        if (known < 0 && known != -ERR_NOT_FOUND && known != -ERR_DATA_LOSS)
                return known;
        note_use(s, id);
        /* Out of sight at once; what a crash leaves of it goes at the next start. */
        (void) snprintf(gone, sizeof(gone), ".gone-%s", id);
        r = drop(s, fd, gone, id, err);
        if (r < 0)
                return err_wrap(err, "remove snapshot %s", id);
        if (renameat(fd, id, fd, gone) < 0 && errno != ENOENT)
                return err_sys(err, errno, "remove snapshot %s", id);
        r = drop(s, fd, gone, id, err); /* before its layers, of which it may be a clone */
        if (r == 0)
                r = store_delete(images_store(s), STORE_SNAPSHOT, id, err);
        if (r == 0 && known == 0)
                r = images_release(s, record.layers, err);
        if (r == 0 && known == 0 && *record.volumes)
                r = images_release(s, record.volumes, err);
        return r < 0 ? err_wrap(err, "remove snapshot %s", id) : 0;
}

int snapshot_load(struct images *s, const char *id, struct arena *arena, struct writable *ret,
                  struct snapshot_record *ret_record, struct err *err) {
        _cleanup_(fd_closep) int fd = -1, dir = -1;
        struct snapshot_record record;
        const char **names;
        size_t n = 0;
        int r;

        r = check_id(id, err);
        if (r == 0)
                r = snapshots_open(s, &fd, err);
        if (r == 0)
                r = get_record(s, id, arena, &record, err);
        if (r == 0)
                r = open_snapshot(fd, id, &dir, err);
        if (r == 0)
                r = layers_name(s, record.layers, arena, &names, &n, err);
        if (r < 0)
                return r;
        if (n == 0)
                return err_set(err, ERR_PRECONDITION, "image has no layers");
        *ret = (struct writable){ .id = id,
                                  .dirfd = TAKE_FD(dir),
                                  .tree = snapshot_tree(id, -1, record.tree, arena),
                                  .layers = names,
                                  .n_layers = n,
                                  .home_fd = -1,
                                  .shifted = record.shifted };
        ret->tree.dirfd = ret->dirfd;
        if (ret_record)
                *ret_record = record;
        return 0;
}

int snapshot_mount(struct images *s, const char *id, const struct snapshot_args *args, int *ret_mount_fd,
                   struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
        struct writable w;
        int r = snapshot_load(s, id, arena, &w, NULL, err);

        if (r == 0) {
                r = keeper(s, &w, args->home_mount_fd > 0)->writable_mount(s, &w, args, ret_mount_fd, err);
                fd_close(w.dirfd);
        }
        return r < 0 && r != -ERR_NOT_FOUND ? err_wrap(err, "mount snapshot %s", id) : r;
}

int snapshots_check_idmap(struct images *s, int userns_fd, struct err *err) {
        struct snapshotter *how = layers_snapshotter(images_layers(s));
        int r = atomic_load(&how->shifts) ? 0 : how->ops->check_idmap(s, userns_fd, err);

        if (r != -ERR_PRECONDITION || how->must_map)
                return r;
        log_info("containers of pods with user namespaces get copies of their images", "why", err->msg, NULL);
        atomic_store(&how->shifts, true);
        return 0;
}

int snapshot_usage(struct images *s, const char *id, const atomic_bool *give_up, uint64_t *ret_bytes,
                   uint64_t *ret_inodes, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
        struct writable w;
        int r = snapshot_load(s, id, arena, &w, NULL, err);

        if (r == 0) {
                r = keeper(s, &w, false)->writable_usage(s, &w, give_up, ret_bytes, ret_inodes, err);
                fd_close(w.dirfd);
        }
        return r;
}

int snapshot_list(struct images *s, struct arena *arena, const char ***ret, struct err *err) {
        _cleanup_(freep) const char **list = NULL;
        _cleanup_(closedirp) DIR *d = NULL;
        size_t n = 0, cap = 0;
        struct dirent *e;
        int fd, r;

        r = snapshots_open(s, &fd, err);
        if (r < 0)
                return r;
        d = fdopendir(fd);
        if (!d) {
                r = err_sys(err, errno, "list snapshots");
                fd_close(fd);
                return r;
        }
        while ((errno = 0, e = readdir(d))) {
                if (e->d_name[0] == '.')
                        continue;
                xgrow(list, n, cap);
                list[n++] = arena_strdup(arena, e->d_name);
        }
        if (errno)
                return err_sys(err, errno, "list snapshots");
        xgrow(list, n, cap);
        list[n++] = NULL;
        *ret = arena_memdup(arena, list, n * sizeof(*list));
        return 0;
}

/* --- image volumes ------------------------------------------------------------------------------------------------ */

static int note_volume(struct images *s, const char *id, const char *const *layers, struct err *err) {
        json_t *o = NULL, *list, *more;
        int r = read_record(s, id, &o, err);

        if (r < 0)
                return r;
        list = json_object_get(o, "volumes");
        if (!list && json_object_set_new(o, "volumes", list = json_array()) < 0) {
                json_decref(o);
                return err_set(err, ERR_DATA_LOSS, "record of snapshot %s can't be read", id);
        }
        more = list_of(layers);
        (void) json_array_extend(list, more);
        json_decref(more);
        if (json_array_size(list) > RECORD_CHAINS_MAX) {
                json_decref(o);
                return err_set(err, ERR_EXHAUSTED, "the image volumes of %s have more than %d layers together", id,
                               RECORD_CHAINS_MAX);
        }
        return put_json(s, id, o, err);
}

int snapshot_mount_volume(struct images *s, const char *id, const struct snapshot_volume *volume, int *ret_fd,
                          struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
        const char **layers;
        struct err later;
        int r = check_id(id, err);

        if (r == 0)
                r = images_hold(s, volume->image_id, arena, &layers, err);
        if (r < 0)
                return r;
        r = note_volume(s, id, layers, err);
        if (r < 0) {
                if (images_release(s, layers, &later) < 0)
                        log_warn("can't release layers", "snapshot", id, "error", later.msg, NULL);
                return r;
        }
        return volume_mount(s, id, layers, volume, ret_fd, err);
}

/* --- after a crash ------------------------------------------------------------------------------------------------ */

static int note_record(const char *key, const void *value, size_t len, void *userdata) {
        (void) map_set(userdata, key, userdata);
        return 0;
}

/* What a change of its image has left. */
static int keep_one_tree(struct images *s, const char *id, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ARENA_BYTES);
        struct snapshot_record record;
        struct writable w;
        int r;

        r = snapshot_load(s, id, arena, &w, &record, err);
        if (r < 0) {
                log_warn("a snapshot can't be used", "snapshot", id, "error", err->msg, NULL);
                return 0;
        }
        r = remove_trees(s, w.dirfd, id, (int64_t) record.tree, err);
        fd_close(w.dirfd);
        return r;
}

/* A folder without a record goes. What a commit has compared holds whatever names a container gave. */
static int drop_left_over(struct images *s, int fd, const char *name, struct err *err) {
        if (str_after(name, CHANGES_PREFIX))
                return fs_remove_tree(fd, name, err);
        return drop(s, fd, name, str_after(name, ".gone-") ?: name, err);
}

/* One that can't be removed, since something is mounted in it, say, is no reason not to serve. */
static void stays(const char *id, const struct err *err) {
        log_warn("what is left of a snapshot stays until the next start", "snapshot", id, "error", err->msg, NULL);
}

/* Folders without a record go; of @records those stay that have no folder. */
static int match_folders(struct images *s, int fd, struct map *records, struct err *err) {
        int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(closedirp) DIR *d = copy < 0 ? NULL : fdopendir(copy);
        struct dirent *e;

        if (!d) {
                int r = err_sys(err, errno, "list snapshots");
                fd_close(copy);
                return r;
        }
        while ((errno = 0, e = readdir(d))) {
                if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                        continue;
                if ((map_take(records, e->d_name) ? keep_one_tree(s, e->d_name, err)
                                                  : drop_left_over(s, fd, e->d_name, err)) < 0)
                        stays(e->d_name, err);
        }
        return errno ? err_sys(err, errno, "list snapshots") : 0;
}

int snapshots_reconcile(struct images *s, struct err *err) {
        _cleanup_(map_freep) struct map *records = map_new();
        _cleanup_(fd_closep) int fd = -1;
        const char *id;
        int r;

        r = snapshots_open(s, &fd, err);
        if (r == 0)
                r = store_each(images_store(s), STORE_SNAPSHOT, note_record, records, err);
        if (r == 0)
                r = match_folders(s, fd, records, err);
        for (size_t it = 0; r == 0 && map_next(records, &it, &id, NULL);)
                if (snapshot_remove(s, id, err) < 0)
                        stays(id, err);
        return r < 0 ? err_wrap(err, "tidy up snapshots") : 0;
}
