/* SPDX-License-Identifier: Apache-2.0 */
/* mount-options - see mount-options.h. */
#include "runtime/spec/mount-options.h"

#include <linux/mount.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include "base/attr.h"

/* Not in every libc's headers. */
enum { FLAG_NOSYMFOLLOW = 256, ATTR_NOSYMFOLLOW = 0x00200000 };

#define FLAG(name, value)                                                                                              \
        { name, MOUNT_OPTION_FLAG, false, value }
#define UNFLAG(name, value)                                                                                            \
        { name, MOUNT_OPTION_FLAG, true, value }
#define TREE(name, value)                                                                                              \
        { name, MOUNT_OPTION_RECURSIVE, false, value }
#define UNTREE(name, value)                                                                                            \
        { name, MOUNT_OPTION_RECURSIVE, true, value }
#define PROPAGATION(name, value)                                                                                       \
        { name, MOUNT_OPTION_PROPAGATION, false, value }

/* Sorted. */
const struct mount_option mount_options[] = {
        FLAG("acl", MS_POSIXACL),
        UNFLAG("async", MS_SYNCHRONOUS),
        UNFLAG("atime", MS_NOATIME),
        { "bind", MOUNT_OPTION_BIND, false, 0 },
        { "copy-symlink", MOUNT_OPTION_COPY_SYMLINK, false, 0 },
        FLAG("defaults", 0),
        UNFLAG("dev", MS_NODEV),
        UNFLAG("diratime", MS_NODIRATIME),
        FLAG("dirsync", MS_DIRSYNC),
        UNFLAG("exec", MS_NOEXEC),
        { "idmap", MOUNT_OPTION_OWNERS, false, 0 },
        FLAG("iversion", MS_I_VERSION),
        FLAG("lazytime", MS_LAZYTIME),
        UNFLAG("loud", MS_SILENT),
        FLAG("mand", MS_MANDLOCK),
        UNFLAG("noacl", MS_POSIXACL),
        FLAG("noatime", MS_NOATIME),
        FLAG("nodev", MS_NODEV),
        FLAG("nodiratime", MS_NODIRATIME),
        FLAG("noexec", MS_NOEXEC),
        UNFLAG("noiversion", MS_I_VERSION),
        UNFLAG("nolazytime", MS_LAZYTIME),
        UNFLAG("nomand", MS_MANDLOCK),
        UNFLAG("norelatime", MS_RELATIME),
        UNFLAG("nostrictatime", MS_STRICTATIME),
        FLAG("nosuid", MS_NOSUID),
        FLAG("nosymfollow", FLAG_NOSYMFOLLOW),
        PROPAGATION("private", MS_PRIVATE),
        UNTREE("ratime", MOUNT_ATTR_NOATIME),
        { "rbind", MOUNT_OPTION_BIND, false, MS_REC },
        UNTREE("rdev", MOUNT_ATTR_NODEV),
        UNTREE("rdiratime", MOUNT_ATTR_NODIRATIME),
        FLAG("relatime", MS_RELATIME),
        FLAG("remount", MS_REMOUNT),
        UNTREE("rexec", MOUNT_ATTR_NOEXEC),
        { "ridmap", MOUNT_OPTION_OWNERS, false, MS_REC },
        TREE("rnoatime", MOUNT_ATTR_NOATIME),
        TREE("rnodev", MOUNT_ATTR_NODEV),
        TREE("rnodiratime", MOUNT_ATTR_NODIRATIME),
        TREE("rnoexec", MOUNT_ATTR_NOEXEC),
        UNTREE("rnorelatime", MOUNT_ATTR_RELATIME),
        UNTREE("rnostrictatime", MOUNT_ATTR_STRICTATIME),
        TREE("rnosuid", MOUNT_ATTR_NOSUID),
        TREE("rnosymfollow", ATTR_NOSYMFOLLOW),
        FLAG("ro", MS_RDONLY),
        PROPAGATION("rprivate", MS_PRIVATE | MS_REC),
        TREE("rrelatime", MOUNT_ATTR_RELATIME),
        TREE("rro", MOUNT_ATTR_RDONLY),
        UNTREE("rrw", MOUNT_ATTR_RDONLY),
        PROPAGATION("rshared", MS_SHARED | MS_REC),
        PROPAGATION("rslave", MS_SLAVE | MS_REC),
        TREE("rstrictatime", MOUNT_ATTR_STRICTATIME),
        UNTREE("rsuid", MOUNT_ATTR_NOSUID),
        UNTREE("rsymfollow", ATTR_NOSYMFOLLOW),
        PROPAGATION("runbindable", MS_UNBINDABLE | MS_REC),
        UNFLAG("rw", MS_RDONLY),
        PROPAGATION("shared", MS_SHARED),
        FLAG("silent", MS_SILENT),
        PROPAGATION("slave", MS_SLAVE),
        FLAG("strictatime", MS_STRICTATIME),
        UNFLAG("suid", MS_NOSUID),
        UNFLAG("symfollow", FLAG_NOSYMFOLLOW),
        FLAG("sync", MS_SYNCHRONOUS),
        { "tmpcopyup", MOUNT_OPTION_TMPCOPYUP, false, 0 },
        PROPAGATION("unbindable", MS_UNBINDABLE),
};
const size_t n_mount_options = ELEMENTSOF(mount_options);

static int by_name(const void *name, const void *option) {
        return strcmp(name, ((const struct mount_option *) option)->name);
}

const struct mount_option *mount_option_find(const char *name) {
        return bsearch(name, mount_options, n_mount_options, sizeof(mount_options[0]), by_name);
}

unsigned long mount_option_propagation(const char *name) {
        const struct mount_option *o = mount_option_find(name);

        return o && o->kind == MOUNT_OPTION_PROPAGATION ? o->value : 0;
}
