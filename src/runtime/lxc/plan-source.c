/* SPDX-License-Identifier: Apache-2.0 */
/* plan-source - sources of binds as detached mounts, taken in the host's mount namespace: only so can a mount stay
 * shared with the host (Bidirectional), and only here do host paths mean what the caller meant. Attributes and
 * propagation are set on the clone before anybody sees it. */
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "init/sys.h"
#include "net/userns.h"
#include "runtime/lxc/plan-writer.h"

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U
#endif

enum { MOUNTINFO_MAX = 64 << 20 };

void plan_attributes(unsigned long flags, unsigned long clear_flags, uint64_t *ret_set, uint64_t *ret_clear) {
        static const struct {
                unsigned long flag;
                uint64_t attr;
        } map[] = {
                { MS_RDONLY, SYS_ATTR_RDONLY },         { MS_NOSUID, SYS_ATTR_NOSUID },
                { MS_NODEV, SYS_ATTR_NODEV },           { MS_NOEXEC, SYS_ATTR_NOEXEC },
                { MS_NODIRATIME, SYS_ATTR_NODIRATIME }, { MS_NOSYMFOLLOW, SYS_ATTR_NOSYMFOLLOW },
        };

        *ret_set = *ret_clear = 0;
        for (size_t i = 0; i < ELEMENTSOF(map); i++) {
                if (flags & map[i].flag)
                        *ret_set |= map[i].attr;
                else if (clear_flags & map[i].flag)
                        *ret_clear |= map[i].attr;
        }
        /* A field, not flags: it must be cleared to be set. */
        if ((flags & (MS_NOATIME | MS_RELATIME | MS_STRICTATIME)) || (clear_flags & MS_NOATIME))
                *ret_clear |= SYS_ATTR_ATIME;
        if (flags & MS_NOATIME)
                *ret_set |= SYS_ATTR_NOATIME;
        else if (flags & MS_STRICTATIME)
                *ret_set |= SYS_ATTR_STRICTATIME;
}

/* In runc a bind is made in a mount namespace whose root has been made what rootfsPropagation says. */
static unsigned long root_propagation(const struct spec *spec) {
        if (!spec || !spec->is_bundle)
                return MS_PRIVATE;
        return spec->rootfs_propagation & MS_PRIVATE  ? MS_PRIVATE
               : spec->rootfs_propagation & MS_SHARED ? MS_SHARED
                                                      : MS_SLAVE;
}

static int set_attributes(int mount_fd, const struct spec *spec, const struct spec_mount *m, struct err *err) {
        unsigned long own = m->propagation & ~(unsigned long) MS_REC;
        struct sys_mount_attr root = { .propagation = root_propagation(spec) };
        struct sys_mount_attr tree = { .set = m->recursive_set,
                                       .clear = m->recursive_clear,
                                       .propagation = own && !m->propagation_flat ? own : root.propagation };
        struct sys_mount_attr top = { .propagation = m->propagation_flat ? own : 0 };
        bool from_root = spec && spec->is_bundle && tree.propagation != root.propagation &&
                         (tree.propagation == MS_SHARED || tree.propagation == MS_SLAVE);

        /* Of a pod's: shared with the host already, or the check of its source would have said so. */
        if (tree.propagation == MS_SHARED && !(spec && spec->is_bundle))
                tree.propagation = 0;
        if (m->recursive_readonly)
                tree.set |= SYS_ATTR_RDONLY;
        /* What is shared in a root that is not shares nothing with the host. */
        if (from_root && sys_mount_setattr(mount_fd, SYS_AT_RECURSIVE, &root) < 0)
                return err_sys(err, errno, "set the root's propagation on the mount on %s", m->destination);
        if ((tree.propagation || tree.set || tree.clear) && sys_mount_setattr(mount_fd, SYS_AT_RECURSIVE, &tree) < 0)
                return err_sys(err, errno, "set propagation and attributes of the mount on %s", m->destination);
        plan_attributes(m->flags, m->clear_flags, &top.set, &top.clear);
        if ((top.set || top.clear || top.propagation) && sys_mount_setattr(mount_fd, 0, &top) < 0)
                return err_sys(err, errno, "set attributes of the mount on %s", m->destination);
        return 0;
}

static int open_owners(const struct id_maps *maps, const struct spec *spec, int *ret_fd, struct err *err) {
        const char *path = spec->ns[SPEC_NS_USER].path;

        if (!path || !id_maps_equal(maps, &spec->user_ids))
                return userns_new(maps, ret_fd, err);
        *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
        return *ret_fd < 0 ? err_sys(err, errno, "open the user namespace %s", path) : 0;
}

static int map_owners(int mount_fd, const struct spec_mount *m, const struct spec *spec, struct err *err) {
        struct sys_mount_attr attr = { .set = SYS_ATTR_IDMAP };
        _cleanup_(fd_closep) int fd = -1;
        int r;

        if (!m->owners)
                return 0;
        r = open_owners(m->owners, spec, &fd, err);
        if (r < 0)
                return err_wrap(err, "mount on %s: map the owners", m->destination);
        attr.userns_fd = (uint64_t) fd;
        if (sys_mount_setattr(mount_fd, m->recursive && !m->owners_flat ? SYS_AT_RECURSIVE : 0, &attr) == 0)
                return 0;
        if (errno == EINVAL || errno == EPERM)
                return err_set(err, ERR_PRECONDITION,
                               "mount on %s: the owners in %s can't be mapped: its file system, or that of a mount "
                               "below it, has no idmapped mounts with this kernel, or is mapped already",
                               m->destination, m->source);
        return err_sys(err, errno, "mount on %s: map the owners in %s", m->destination, m->source);
}

/* Do the optional fields of mount @id in mountinfo have "shared:" (or "master:", with @or_slave)? */
static bool line_propagates(const char *mountinfo, uint64_t id, bool or_slave) {
        for (const char *line = mountinfo; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
                const char *end = line + strcspn(line, "\n"), *separator, *shared, *master;

                if (strtoull(line, NULL, 10) != id)
                        continue;
                separator = strstr(line, " - ");
                shared = strstr(line, " shared:");
                master = strstr(line, " master:");
                if (!separator || separator > end)
                        return false;
                return (shared && shared < separator) || (or_slave && master && master < separator);
        }
        return false;
}

static int check_propagation(int fd, const struct spec_mount *m, struct err *err) {
        bool or_slave = (m->propagation & MS_SLAVE) != 0;
        _cleanup_(freep) char *mountinfo = NULL;
        struct statx stx;
        int r;

        if (!(m->propagation & (MS_SLAVE | MS_SHARED)))
                return 0;
        if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0)
                return err_sys(err, errno, "look at the mount of %s", m->source);
        r = fs_read_file(AT_FDCWD, "/proc/thread-self/mountinfo", MOUNTINFO_MAX, &mountinfo, NULL, err);
        if (r < 0)
                return r;
        if (!line_propagates(mountinfo, stx.stx_mnt_id, or_slave))
                return err_set(err, ERR_INVALID,
                               "path \"%s\" is on a mount that is not %s, as the propagation of its mount on %s needs",
                               m->source, or_slave ? "shared or slave" : "shared", m->destination);
        return 0;
}

int plan_clone_source(const struct spec *spec, const struct spec_mount *m, const char *path, struct err *err) {
        unsigned flags =
                SYS_OPEN_TREE_CLONE | SYS_OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (m->recursive ? SYS_AT_RECURSIVE : 0);
        _cleanup_(fd_closep) int fd = open(path, O_PATH | O_CLOEXEC), tree = -1;
        int r;

        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENAMETOOLONG))
                return err_set(err, ERR_INVALID, "mount on %s: source %s: %s", m->destination, path, strerror(errno));
        if (fd < 0)
                return err_sys(err, errno, "mount on %s: source %s", m->destination, path);
        r = spec && !spec->is_bundle ? check_propagation(fd, m, err) : 0;
        if (r < 0)
                return r;
        tree = sys_open_tree(fd, "", flags);
        if (tree < 0)
                return err_sys(err, errno, "mount on %s: clone %s", m->destination, path);
        r = set_attributes(tree, spec, m, err);
        return r < 0 ? r : TAKE_FD(tree);
}

int plan_take_source(const struct spec *spec, const struct spec_mount *m, struct err *err) {
        _cleanup_(fd_closep) int tree = m->source_fd;
        int r;

        if (tree < 0)
                r = tree = plan_clone_source(spec, m, m->source, err);
        else
                r = set_attributes(tree, spec, m, err);
        if (r >= 0)
                r = map_owners(tree, m, spec, err);
        return r < 0 ? r : TAKE_FD(tree);
}
