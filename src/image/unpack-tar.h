/* SPDX-License-Identifier: Apache-2.0 */
/* unpack-tar - the tar format: bytes in, entries out, no I/O. Reads ustar, v7, star, GNU (long names, base-256 numbers,
 * sparse) and pax (path, linkpath, size, uid, gid, mtime, xattrs of star and of libarchive, sparse 0.0, 0.1 and 1.0);
 * global pax headers are skipped, as containerd does. One thread at a time. Names are handed out as they stand in the
 * archive: making them safe is the receiver's duty. Limits: see the enum; whatever passes them, or makes no sense, is
 * ERR_INVALID. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/err.h"

enum {
        TAR_MAX_NAME = 4095,           /* bytes of a name or of a link's target */
        TAR_MAX_PAX = 1 << 20,         /* bytes of an extended header */
        TAR_MAX_XATTRS = 256,          /* of an entry */
        TAR_MAX_XATTR_VALUE = 1 << 16, /* the kernel's XATTR_SIZE_MAX */
        TAR_MAX_EXTENTS = 1 << 16,     /* pieces of a sparse file */
};

enum tar_type { TAR_FILE, TAR_LINK, TAR_SYMLINK, TAR_CHAR, TAR_BLOCK, TAR_DIR, TAR_FIFO };

struct tar_xattr {
        const char *name;
        const void *value;
        size_t len;
};

struct tar_entry {
        enum tar_type type;
        const char *name, *link; /* link: target of TAR_LINK and TAR_SYMLINK, else "" */
        uint32_t mode;           /* permission bits, 07777 */
        uint32_t uid, gid;
        uint64_t size;        /* of a TAR_FILE, holes included */
        uint64_t stored_size; /* without the holes */
        bool sparse;
        int64_t mtime;
        uint32_t mtime_ns;
        uint32_t major, minor;
        const struct tar_xattr *xattrs;
        size_t n_xattrs;
        bool acls_as_text; /* when it is written: also in the form that `tar --acls` takes */
};

/* Returned non-zero values stop the reading and are returned by tar_write(). What an entry points to lives until end().
 */
struct tar_ops {
        int (*entry)(void *userdata, const struct tar_entry *e, struct err *err);
        /* These two may be NULL. Bytes of the last entry, a TAR_FILE, in ascending order of @offset. */
        int (*data)(void *userdata, uint64_t offset, const void *data, size_t len, struct err *err);
        int (*end)(void *userdata, struct err *err); /* the last entry, a TAR_FILE, is complete */
};

struct tar;

struct tar *tar_new(const struct tar_ops *ops, void *userdata);
struct tar *tar_free(struct tar *t); /* NULL ok */
DEFINE_CLEANUP(struct tar *, tar_free)
_must_use_ int tar_write(struct tar *t, const void *data, size_t len, struct err *err);
/* For who has the archive in a file and wants no data: behind a block of 512 bytes in which an entry began, how many
 * bytes of its data come, padding included. They are then taken as written (data() is not called, end() is). 0: none.
 */
_must_use_ int tar_skip(struct tar *t, uint64_t *ret, struct err *err);
bool tar_is_over(const struct tar *t);                  /* the end mark was seen: what follows means nothing */
_must_use_ int tar_end(struct tar *t, struct err *err); /* no more bytes: is the archive complete? */
