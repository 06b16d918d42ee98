/* SPDX-License-Identifier: Apache-2.0 */
#include "image/snapshot-overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/id-map.h"
#include "base/str.h"
#include "image/images.h"
#include "image/layer-copy.h"
#include "image/snapshot.h"

static int map_owner(int fd, const struct id_maps *maps, struct err *err) {
        struct stat st;
        uint32_t uid, gid;

        if (fstat(fd, &st) < 0)
                return err_sys(err, errno, "look at folder of snapshot");
        /* Nobody's in there is its root's. */
        if (!id_map_find(maps->uids, maps->n_uids, st.st_uid, &uid))
                uid = maps->uids[0].outside;
        if (!id_map_find(maps->gids, maps->n_gids, st.st_gid, &gid))
                gid = maps->gids[0].outside;
        return fchown(fd, uid, gid) < 0 ? err_sys(err, errno, "give away folder of snapshot") : 0;
}

/* The root folder of a container looks as upper does: give it what the image's root has. */
int overlay_writable_make(struct images *s, const struct writable *w, struct err *err) {
        _cleanup_(fd_closep) int upper = -1, root = -1;
        int dir = w->home_fd >= 0 ? w->home_fd : w->dirfd, r = 0;

        if (mkdirat(dir, "work", 0700) < 0 || mkdirat(dir, "upper", 0755) < 0)
                return err_sys(err, errno, "create folders of snapshot");
        upper = openat(dir, "upper", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (upper < 0 || fchmod(upper, 0755) < 0)
                return err_sys(err, errno, "open folder of snapshot");
        if (w->n_layers) {
                r = layer_open(images_layers(s), w->layers[w->n_layers - 1], &root, err);
                if (r == 0)
                        r = layer_copy_meta(root, upper, err);
        }
        return r == 0 && w->maps ? map_owner(upper, w->maps, err) : r;
}

/* Overlay refuses a volatile upper that was mounted before. Within one boot its pages are all there, mounted or not; of
 * an earlier boot some may be missing. */
static int allow_again(int dirfd, struct err *err) {
        static const char mark[] = "work/work/incompat/volatile";
        _cleanup_(freep) char *boot = NULL, *said = NULL;
        struct stat st;
        bool known;
        int r;

        r = fs_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot, NULL, err);
        if (r < 0)
                return r;
        known = fs_read_file(dirfd, "boot", 64, &said, NULL, err) == 0 && str_eq(said, boot);
        if (fstatat(dirfd, mark, &st, AT_SYMLINK_NOFOLLOW) < 0) /* never mounted */
                return known ? 0 : fs_write_atomic(dirfd, "boot", boot, strlen(boot), 0600, false, err);
        if (!known) /* also if the note did not reach the disk */
                return err_set(err, ERR_DATA_LOSS,
                               "the machine stopped while its writable layer was in use: what it holds "
                               "may be incomplete; remove the container and make it anew");
        return fs_remove_tree(dirfd, mark, err);
}

int overlay_writable_mount(struct images *s, const struct writable *w, const struct snapshot_args *how, int *ret_fd,
                           struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 * 1024);
        struct overlay_args args = { .layers_fd = layers_dirfd(images_layers(s)),
                                     .layers_path = arena_printf(arena, "%s/layers", images_root(s)),
                                     .layers = w->layers,
                                     .n_layers = w->n_layers,
                                     .upper = arena_printf(arena, "../snapshots/%s/upper", w->id),
                                     .work = arena_printf(arena, "../snapshots/%s/work", w->id),
                                     .upper_place = arena_printf(arena, "../snapshots/%s", w->id),
                                     .userns_fd = how->userns_fd,
                                     .label = how->label,
                                     .upper_mount_fd = how->home_mount_fd };
        int r;

        if (how->home_mount_fd > 0)
                return snapshot_mount_at_home(&args, ret_fd, err);
        r = allow_again(w->dirfd, err);
        return r < 0 ? r : overlay_mount(&args, ret_fd, err);
}

int overlay_writable_usage(struct images *s, const struct writable *w, const atomic_bool *give_up, uint64_t *ret_bytes,
                           uint64_t *ret_inodes, struct err *err) {
        _cleanup_(fd_closep) int upper = openat(w->dirfd, "upper", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        (void) s;
        if (upper < 0)
                return err_sys(err, errno, "open snapshot %s", w->id);
        return fs_usage(upper, &(struct fs_until){ .stop = give_up }, ret_bytes, ret_inodes, err);
}

/* Two folders that are there in any case. */
int overlay_check_idmap(struct images *s, int userns_fd, struct err *err) {
        static const char *const layers[] = { "tmp", "by-chain" };
        _cleanup_(arena_freep) struct arena *arena = arena_new(64 * 1024);
        struct overlay_args args = {
                .layers_fd = layers_dirfd(images_layers(s)),
                .layers_path = arena_printf(arena, "%s/layers", images_root(s)),
                .layers = layers,
                .n_layers = ELEMENTSOF(layers),
                .userns_fd = userns_fd,
        };
        int fd, r = overlay_mount(&args, &fd, err);

        if (r == 0)
                (void) fd_close(fd);
        return r;
}
