/* SPDX-License-Identifier: Apache-2.0 */
/* Both trees are walked, and what is set comes from the one that stays: so nothing has to be remembered of files with
 * several names, and nothing is shifted twice. */
#include "image/tree-shift.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/tar-tree-xattr.h"

enum {
        NAMES_MAX = 64 * 1024,     /* the kernel's XATTR_LIST_MAX */
        VALUE_MAX = 64 * 1024,     /* its XATTR_SIZE_MAX */
        NOBODY = 65534,            /* the kernel's overflow id */
        OTHER_NOBODY = 0xfffffffe, /* the last id */
};

struct shift {
        const struct id_maps *owners;
        char *names, *value; /* NULL: not needed so far */
};

/* --- ids ---------------------------------------------------------------------------------------------------------- */

static bool is_somebody(const struct id_map *maps, size_t n, uint32_t outside) {
        for (size_t i = 0; i < n; i++)
                if (outside >= maps[i].outside && outside - maps[i].outside < maps[i].length)
                        return true;
        return false;
}

uint32_t tree_shift_id(const struct id_map *maps, size_t n, uint32_t id) {
        uint32_t outside;

        if (id_map_find(maps, n, id, &outside))
                return outside;
        return is_somebody(maps, n, NOBODY) ? (uint32_t) OTHER_NOBODY : NOBODY;
}

static int check(const struct id_map *maps, size_t n, struct err *err) {
        return is_somebody(maps, n, NOBODY) && is_somebody(maps, n, (uint32_t) OTHER_NOBODY)
                       ? err_set(err, ERR_PRECONDITION,
                                 "the user namespace has the host's ids %d and %u, one of which must stay free for "
                                 "files whose owners it has not",
                                 NOBODY, (uint32_t) OTHER_NOBODY)
                       : 0;
}

/* --- extended attributes ------------------------------------------------------------------------------------------ */

/* The rights that a file gives hold for the user namespace whose root's id is beside them: without one the host's. */
static size_t shift_caps(char *value, size_t len, const struct id_maps *owners) {
        struct vfs_ns_cap_data caps = { 0 };
        uint32_t magic, root = 0;

        if (len != XATTR_CAPS_SZ_2 && len != XATTR_CAPS_SZ_3)
                return len;
        memcpy(&caps, value, len);
        magic = le32toh(caps.magic_etc);
        if (len == XATTR_CAPS_SZ_3)
                root = le32toh(caps.rootid);
        caps.magic_etc = htole32(VFS_CAP_REVISION_3 | (magic & VFS_CAP_FLAGS_EFFECTIVE));
        caps.rootid = htole32(tree_shift_id(owners->uids, owners->n_uids, root));
        memcpy(value, &caps, XATTR_CAPS_SZ_3);
        return XATTR_CAPS_SZ_3;
}

size_t tree_shift_xattr(const char *name, char *value, size_t len, const struct id_maps *owners) {
        if (str_eq(name, "security.capability"))
                return shift_caps(value, len, owners);
        if (str_after(name, "system.posix_acl_"))
                tree_xattrs_map_acl(value, len, owners, tree_shift_id);
        return len;
}

static int shift_xattr(struct shift *s, const char *from, const char *to, const char *name, struct err *err) {
        ssize_t len;

        if (!str_eq(name, "security.capability") && !str_after(name, "system.posix_acl_"))
                return 0;
        len = lgetxattr(from, name, s->value, VALUE_MAX);
        if (len < 0)
                return err_sys(err, errno, "read extended attribute %.80s", name);
        len = (ssize_t) tree_shift_xattr(name, s->value, (size_t) len, s->owners);
        return lsetxattr(to, name, s->value, (size_t) len, 0) < 0
                       ? err_sys(err, errno, "set extended attribute %.80s", name)
                       : 0;
}

static int shift_xattrs(struct shift *s, int from, int to, const char *name, struct err *err) {
        char from_path[NAME_MAX + 32], to_path[NAME_MAX + 32];
        ssize_t n;
        int r = 0;

        (void) snprintf(from_path, sizeof(from_path), "/proc/self/fd/%d/%s", from, name);
        (void) snprintf(to_path, sizeof(to_path), "/proc/self/fd/%d/%s", to, name);
        n = llistxattr(from_path, NULL, 0);
        if (n <= 0) /* most have none */
                return n == 0 || errno == EOPNOTSUPP ? 0 : err_sys(err, errno, "list extended attributes");
        if (!s->names) {
                s->names = xcalloc(1, NAMES_MAX + 1);
                s->value = xcalloc(1, VALUE_MAX);
        }
        n = llistxattr(from_path, s->names, NAMES_MAX);
        if (n < 0)
                return err_sys(err, errno, "list extended attributes");
        for (const char *x = s->names; r == 0 && x < s->names + n; x += strlen(x) + 1)
                r = shift_xattr(s, from_path, to_path, x, err);
        return r;
}

/* --- the walk ----------------------------------------------------------------------------------------------------- */

/* A change of owner takes the set-id bits and the capabilities away: they come after it. */
static int shift_one(struct shift *s, int from, int to, const char *name, const struct stat *st, struct err *err) {
        const struct id_maps *o = s->owners;

        if (fchownat(to, name, tree_shift_id(o->uids, o->n_uids, st->st_uid),
                     tree_shift_id(o->gids, o->n_gids, st->st_gid), AT_SYMLINK_NOFOLLOW) < 0)
                return err_sys(err, errno, "change the owner");
        if (S_ISLNK(st->st_mode)) /* has neither */
                return 0;
        if ((st->st_mode & (S_ISUID | S_ISGID)) && fchmodat(to, name, st->st_mode & 07777, 0) < 0)
                return err_sys(err, errno, "set the mode");
        return shift_xattrs(s, from, to, name, err);
}

static int open_dir(int at, const char *name, int *ret, struct err *err) {
        *ret = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return *ret < 0 ? err_sys(err, errno, "open the folder") : 0;
}

static int shift_below(struct shift *s, int from, int to, struct err *err);

static int shift_entry(struct shift *s, int from, int to, const char *name, struct err *err) {
        _cleanup_(fd_closep) int from_child = -1, to_child = -1;
        struct stat st;
        int r;

        if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return err_sys(err, errno, "look at \"%.200s\"", name);
        r = shift_one(s, from, to, name, &st, err);
        if (r < 0)
                return err_wrap(err, "\"%.200s\"", name);
        if (!S_ISDIR(st.st_mode))
                return 0;
        r = open_dir(from, name, &from_child, err);
        if (r == 0)
                r = open_dir(to, name, &to_child, err);
        return r == 0 ? shift_below(s, from_child, to_child, err) : r;
}

/* The depth has a bound, UNPACK_MAX_DEPTH. */
static int shift_below(struct shift *s, int from, int to, struct err *err) {
        int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        _cleanup_(closedirp) DIR *d = copy < 0 ? NULL : fdopendir(copy);
        const struct dirent *e;

        if (!d) {
                r = err_sys(err, errno, "list a folder");
                fd_close(copy);
                return r;
        }
        while (r == 0 && (errno = 0, e = readdir(d)))
                if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
                        r = shift_entry(s, from, to, e->d_name, err);
        return r == 0 && errno ? err_sys(err, errno, "list a folder") : r;
}

int tree_shift(int from, int to, const struct id_maps *owners, struct err *err) {
        struct shift s = { .owners = owners };
        struct stat st;
        int r = check(owners->uids, owners->n_uids, err);

        if (r == 0)
                r = check(owners->gids, owners->n_gids, err);
        if (r == 0 && fstat(from, &st) < 0)
                r = err_sys(err, errno, "look at the image");
        if (r == 0)
                r = shift_one(&s, from, to, ".", &st, err);
        if (r == 0)
                r = shift_below(&s, from, to, err);
        free(s.names);
        free(s.value);
        return r < 0 ? err_wrap(err, "give the files to the user namespace") : 0;
}
