/* SPDX-License-Identifier: Apache-2.0 */
/* archive - the files of a tar archive, or of a folder, by name. Strangers' archives: nothing is written under a name
 * that stands in them. One thread at a time. Private to image/.
 *
 * An archive in a file is read where it lies. One that comes through a pipe or is compressed (gzip, zstd) is first
 * written out, into a file without a name: what refers to a member may stand before or behind it. Links inside the
 * archive are followed, as `docker save` used to make them. ERR_INVALID: names that lead out of it, two files of one
 * name, what is no tar; ERR_EXHAUSTED: see the enum. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/err.h"
#include "image/content.h"
#include "image/inflate.h"

enum {
        ARCHIVE_MEMBERS_MAX = 65536,       /* entries of all kinds */
        ARCHIVE_NAMES_BYTES_MAX = 4 << 20, /* of all names and links together */
        ARCHIVE_LINKS_MAX = 8,             /* one after the other */
};

struct archive;
struct archive_args {
        int fd;                  /* borrowed: a folder, a file (from its offset on), a pipe */
        int spool_dirfd;         /* borrowed: where a file without a name may be made */
        struct content *content; /* borrowed: who makes room for that; NULL: nobody */
        uint64_t max_bytes;      /* of one that is written out */
        int cancel_fd;           /* readable: stop, ERR_CANCELLED */
};
_must_use_ int archive_open(const struct archive_args *args, struct archive **ret, struct err *err);
struct archive *archive_free(struct archive *a); /* NULL ok */
DEFINE_CLEANUP(struct archive *, archive_free)
bool archive_is_folder(const struct archive *a);

/* A file in it: bytes of a descriptor. */
struct archive_file {
        int fd;
        bool owned;
        uint64_t offset, size;
};
/* ERR_NOT_FOUND: there is none of that name, or it is no file. */
_must_use_ int archive_find(const struct archive *a, const char *name, struct archive_file *ret, struct err *err);
void archive_file_done(struct archive_file *f);
bool archive_has(const struct archive *a, const char *name);
/* @len bytes from @at on; ERR_DATA_LOSS when there are fewer. */
_must_use_ int archive_pread(const struct archive_file *f, void *to, size_t len, uint64_t at, struct err *err);
/* All of a file of at most @max bytes, NUL-terminated; caller frees. */
_must_use_ int archive_read(const struct archive *a, const char *name, size_t max, char **ret, size_t *ret_len,
                            struct err *err);
/* By its first bytes; INFLATE_NONE: by none that is known here. */
_must_use_ int archive_compression(const struct archive_file *f, enum inflate_kind *ret, struct err *err);
