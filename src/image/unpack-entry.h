/* SPDX-License-Identifier: Apache-2.0 */
/* unpack-entry - files, links, devices and extended attributes of one entry. Private to unpack. */
#pragma once
#include "image/unpack-dirs.h"
#include "image/unpack-tar.h"
#include "image/unpack.h"

struct unpack {
        struct tar *tar;
        struct dirs dirs;
        struct unpack_rest rest;
        uint64_t entries, max_entries;
        uid_t uid; /* what is made belongs to them unless said otherwise */
        gid_t gid;
        bool default_acls; /* some folder has one: modes given at creation are not what comes out */
        struct {           /* the one being written */
                int fd;    /* -1: none, its bytes are dropped */
                struct tar_entry e;
        } file;
};

/* Another inode of @bytes: ERR_EXHAUSTED past the limit. */
_must_use_ int unpack_count(struct unpack *u, uint64_t bytes, struct err *err);
/* Remove what stands under @name in the folder on top. */
_must_use_ int unpack_make_room(struct unpack *u, const char *name, struct err *err);
/* Must the owner be set, being not who makes it? */
bool unpack_needs_owner(struct unpack *u, const struct tar_entry *e);

/* Make a file (left open for its data), symlink, device or fifo under @name in the folder on top. */
_must_use_ int unpack_make(struct unpack *u, const char *name, const struct tar_entry *e, struct err *err);
_must_use_ int unpack_write_file(void *userdata, uint64_t offset, const void *data, size_t len, struct err *err);
_must_use_ int unpack_close_file(struct unpack *u, struct err *err);
/* Hardlink @name in the folder on top (@path in full) -> @target. @ret_found: false when this layer has no such file.
 */
_must_use_ int unpack_link(struct unpack *u, const char *name, const char *path, const char *target, bool *ret_found,
                           struct err *err);
/* Those of @e, on @fd, or when @name is given on that in the folder @fd. */
_must_use_ int unpack_set_xattrs(struct unpack *u, int fd, const char *name, const struct tar_entry *e,
                                 struct err *err);
