/* SPDX-License-Identifier: Apache-2.0 */
/* mount-options - the words that config.json's mounts may have as options, as one table: parser and "features" are made
 * from it. Pure, thread-safe. Source: OCI runtime-spec 1.3, config.md#linux-mount-options; tmpcopyup, acl and
 * copy-symlink as runc and crun have them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "runtime/spec/spec.h"

enum mount_option_kind {
        MOUNT_OPTION_FLAG,        /* value: MS_*; 0: means nothing */
        MOUNT_OPTION_RECURSIVE,   /* value: MOUNT_ATTR_*, for the whole tree */
        MOUNT_OPTION_PROPAGATION, /* value: MS_PRIVATE ..., with MS_REC for the whole tree */
        MOUNT_OPTION_BIND,        /* value: MS_REC for the whole tree */
        MOUNT_OPTION_OWNERS,      /* idmap, ridmap; value: MS_REC for the whole tree */
        MOUNT_OPTION_TMPCOPYUP,
        MOUNT_OPTION_COPY_SYMLINK,
};

struct mount_option {
        const char *name;
        enum mount_option_kind kind;
        bool clear; /* takes the value away */
        uint64_t value;
};

extern const struct mount_option mount_options[]; /* sorted by name */
extern const size_t n_mount_options;

/* NULL: none of the words; it is for the file system. */
const struct mount_option *mount_option_find(const char *name);

/* "private", "rslave" ...: MS_*, with MS_REC. 0: no such word. */
unsigned long mount_option_propagation(const char *name);
