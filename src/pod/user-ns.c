/* SPDX-License-Identifier: Apache-2.0 */
/* user-ns - see user-ns.h. */
#include "pod/user-ns.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include "net/userns.h"
#include "pod/files.h"

int user_ns_open(const struct sandbox *s, int *ret_fd, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = NULL;
        const char *path;

        *ret_fd = -1;
        if (!sandbox_user_ids(s))
                return 0;
        arena = arena_new(64 << 10);
        path = pod_ns_file(s, "user", false, arena);
        *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
        return *ret_fd < 0 ? err_sys(err, errno, "open the pod's user namespace %s", path) : 0;
}

void user_ns_root(const struct sandbox *s, uint32_t *ret_uid, uint32_t *ret_gid) {
        (void) id_maps_root(sandbox_user_ids(s), ret_uid, ret_gid);
}

static int check_mount(const char *path, int userns_fd, struct err *err) {
        struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t) userns_fd };
        _cleanup_(fd_closep) int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

        if (tree < 0)
                return err_sys(err, errno, "clone the mount of %s", path);
        if (mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
                return errno == EINVAL
                               ? err_set(err, ERR_PRECONDITION, "the file system of %s has no idmapped mounts", path)
                               : err_sys(err, errno, "map the owners in %s", path);
        return 0;
}

int user_ns_check(struct images *images, const char *state, struct err *err) {
        static const struct id_map range = { 0, 65536, 65536 };
        static const struct id_maps maps = { &range, &range, 1, 1 };
        _cleanup_(fd_closep) int fd = -1;
        int r = userns_new(&maps, &fd, err);

        if (r == 0)
                r = snapshots_check_idmap(images, fd, err);
        return r < 0 ? r : check_mount(state, fd, err);
}
