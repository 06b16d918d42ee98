/* SPDX-License-Identifier: Apache-2.0 */
/* tar-tree-xattr - the extended attributes of one file as an archive tells them. Private to tar-tree. */
#pragma once
#include <stdbool.h>
#include "base/err.h"
#include "base/id-map.h"
#include "base/strbuf.h"
#include "image/unpack-tar.h"

/* All zeros at first; used for one file after the other. */
struct tree_xattrs {
        struct tar_xattr list[TAR_MAX_XATTRS]; /* sorted by name; they point into the buffers */
        size_t n;
        bool opaque;           /* overlay's mark: nothing of the layers below is seen */
        const char *elsewhere; /* overlay's mark that this is not all of it; NULL: has none */
        char *names, *values;
};
/* Of the file @fd (O_PATH will do). Not of those that are the host's: SELinux's label, NFS' ACLs, a file system's own
 * properties, overlay's marks. @owners: as tar_tree_args. ERR_INVALID: more than an archive may have. */
_must_use_ int tree_xattrs_read(struct tree_xattrs *x, int fd, const struct id_maps *owners, struct err *err);
void tree_xattrs_done(struct tree_xattrs *x);
/* The id inside of the host's @id; 65534: it is nobody's there. */
uint32_t tree_xattrs_map_id(const struct id_map *maps, size_t n, uint32_t id);
/* The POSIX ACL @value, as its extended attribute has it, with the users and groups that @map makes of those it names.
 */
void tree_xattrs_map_acl(char *value, size_t len, const struct id_maps *owners,
                         uint32_t (*map)(const struct id_map *maps, size_t n, uint32_t id));
