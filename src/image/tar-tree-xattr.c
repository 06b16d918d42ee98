/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tar-tree-xattr.h"

#include <endian.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include "base/alloc.h"
#include "base/str.h"

enum {
        NAMES_MAX = 64 * 1024, /* the kernel's XATTR_LIST_MAX */
        VALUES_MAX = TAR_MAX_PAX,
        NOBODY = 65534,
        ACL_USER_TAG = 0x02,
        ACL_GROUP_TAG = 0x08,
};

uint32_t tree_xattrs_map_id(const struct id_map *maps, size_t n, uint32_t id) {
        for (size_t i = 0; i < n; i++)
                if (id >= maps[i].outside && id - maps[i].outside < maps[i].length)
                        return maps[i].inside + (id - maps[i].outside);
        return NOBODY;
}

static bool is_kept(const char *name) {
        const char *system = str_after(name, "system.");

        if (system)
                return str_eq(system, "posix_acl_access") || str_eq(system, "posix_acl_default");
        return !str_eq(name, "security.selinux") && !str_after(name, "trusted.overlay.") &&
               (str_after(name, "user.") || str_after(name, "trusted.") || str_after(name, "security."));
}

void tree_xattrs_map_acl(char *value, size_t len, const struct id_maps *owners,
                         uint32_t (*map)(const struct id_map *maps, size_t n, uint32_t id)) {
        for (size_t at = sizeof(struct posix_acl_xattr_header); at + sizeof(struct posix_acl_xattr_entry) <= len;
             at += sizeof(struct posix_acl_xattr_entry)) {
                struct posix_acl_xattr_entry e;
                unsigned tag;

                memcpy(&e, value + at, sizeof(e));
                tag = le16toh(e.e_tag);
                if (tag == ACL_USER_TAG)
                        e.e_id = htole32(map(owners->uids, owners->n_uids, le32toh(e.e_id)));
                else if (tag == ACL_GROUP_TAG)
                        e.e_id = htole32(map(owners->gids, owners->n_gids, le32toh(e.e_id)));
                memcpy(value + at, &e, sizeof(e));
        }
}

/* File capabilities that a user namespace's root has given (version 3) are plain ones (version 2) as seen inside. */
static size_t map_caps(char *value, size_t len, const struct id_maps *owners) {
        struct vfs_ns_cap_data caps;
        uint32_t magic;

        if (len != sizeof(caps))
                return len;
        memcpy(&caps, value, sizeof(caps));
        magic = le32toh(caps.magic_etc);
        if ((magic & VFS_CAP_REVISION_MASK) != VFS_CAP_REVISION_3 ||
            tree_xattrs_map_id(owners->uids, owners->n_uids, le32toh(caps.rootid)) != 0)
                return len;
        caps.magic_etc = htole32(VFS_CAP_REVISION_2 | (magic & VFS_CAP_FLAGS_EFFECTIVE));
        memcpy(value, &caps, XATTR_CAPS_SZ_2);
        return XATTR_CAPS_SZ_2;
}

static void take_overlay(struct tree_xattrs *x, const char *name, const char *value, size_t len) {
        const char *mark = str_after(name, "trusted.overlay.");

        if (str_eq(mark, "opaque"))
                x->opaque = len == 1 && value[0] == 'y';
        else if (str_eq(mark, "redirect"))
                x->elsewhere = "redirect_dir";
        else if (str_eq(mark, "metacopy"))
                x->elsewhere = "metacopy";
}

static int by_name(const void *a, const void *b) {
        return strcmp(((const struct tar_xattr *) a)->name, ((const struct tar_xattr *) b)->name);
}

/* Adds to *@used what the value takes. */
static int read_one(struct tree_xattrs *x, const char *path, const char *name, size_t *used,
                    const struct id_maps *owners, struct err *err) {
        char *value = x->values + *used;
        ssize_t n = getxattr(path, name, value, VALUES_MAX + 1 - *used); /* never 0, which would ask for the size */

        if (n < 0 && (errno == ENODATA || errno == EOPNOTSUPP))
                return 0;
        if ((n < 0 && errno == ERANGE) || (n >= 0 && (size_t) n > VALUES_MAX - *used))
                return err_set(err, ERR_INVALID, "its extended attributes have more than %d bytes", VALUES_MAX);
        if (n < 0)
                return err_sys(err, errno, "read extended attribute %.80s", name);
        take_overlay(x, name, value, (size_t) n);
        if (!is_kept(name))
                return 0;
        if (strchr(name, '='))
                return err_set(err, ERR_INVALID, "no archive can hold the extended attribute %.80s: it has \"=\" in it",
                               name);
        if (x->n == TAR_MAX_XATTRS)
                return err_set(err, ERR_INVALID, "it has more than %d extended attributes", TAR_MAX_XATTRS);
        if (owners && str_after(name, "system.posix_acl_"))
                tree_xattrs_map_acl(value, (size_t) n, owners, tree_xattrs_map_id);
        if (owners && str_eq(name, "security.capability"))
                n = (ssize_t) map_caps(value, (size_t) n, owners);
        x->list[x->n++] = (struct tar_xattr){ .name = name, .value = value, .len = (size_t) n };
        *used += (size_t) n;
        return 0;
}

int tree_xattrs_read(struct tree_xattrs *x, int fd, const struct id_maps *owners, struct err *err) {
        char path[32];
        size_t used = 0;
        ssize_t n;
        int r = 0;

        x->n = 0;
        x->opaque = false;
        x->elsewhere = NULL;
        /* Not by l...(): that would be the link in /proc, not what it stands for, which may be a symlink itself. */
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n = listxattr(path, NULL, 0);
        if (n <= 0) /* most have none */
                return n == 0 || errno == EOPNOTSUPP ? 0 : err_sys(err, errno, "list extended attributes");
        if (!x->names) {
                x->names = xcalloc(1, NAMES_MAX + 1);
                x->values = xcalloc(1, VALUES_MAX + 1);
        }
        n = listxattr(path, x->names, NAMES_MAX);
        if (n < 0)
                return err_sys(err, errno, "list extended attributes");
        for (const char *name = x->names; r == 0 && name < x->names + n; name += strlen(name) + 1)
                r = read_one(x, path, name, &used, owners, err);
        qsort(x->list, x->n, sizeof(x->list[0]), by_name);
        return r;
}

void tree_xattrs_done(struct tree_xattrs *x) {
        free(x->names);
        free(x->values);
}
