/* SPDX-License-Identifier: Apache-2.0 */
/* content - blobs on disk: blobs/sha256/HEX, written under a temporary name, then renamed. Manifests and configs are
 * synced before, and read back with their digest checked. Layers' blobs are a cache beside the unpacked layers
 * (docs/decisions/0022): one may be missing, or damaged by a crash of the machine; who reads one checks the digest.
 * Thread-safe. Private to image/. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"

struct content;

/* Makes @root/blobs/sha256. */
_must_use_ int content_new(const char *root, struct content **ret, struct err *err);
struct content *content_free(struct content *c);
DEFINE_CLEANUP(struct content *, content_free)

/* @digest is what @data must have: ERR_DATA_LOSS when it does not. One that is there already is left alone. */
_must_use_ int content_put(struct content *c, const char *digest, const void *data, size_t len, struct err *err);
/* False when it is missing, larger than @max, or damaged (then it is removed, so that it is fetched anew). */
_must_use_ bool content_read(struct content *c, const char *digest, size_t max, char **ret, size_t *ret_len);
_must_use_ int content_remove(struct content *c, const char *digest, struct err *err); /* missing is fine */
/* Removes all but those that @keep answers true for, half-written ones too; what may be of use to a pull that was cut
 * short becomes, or stays, a part that a writer may go on with. */
_must_use_ int content_sweep(struct content *c, bool (*keep)(const char *digest, void *userdata), void *userdata,
                             struct err *err);
/* The folder of blobs, borrowed. */
int content_dirfd(const struct content *c);
/* Who is asked for room when the disk is full under what is made here (true: there is some), from whichever thread
 * writes; before any does. Blobs that are but a cache ask for none. */
void content_set_room(struct content *c, bool (*make_room)(void *userdata), void *userdata);
/* Has a call failed with @error (errno) for want of room, or of files, and is there some now? @c NULL: nobody is asked.
 */
_must_use_ bool content_make_room(struct content *c, int error);
/* As fs_write_all(), at the file's offset; on a full disk once more after asking for room. @c NULL: nobody is asked. */
_must_use_ int content_write(struct content *c, int fd, const void *data, size_t len);
/* The file, which is @digest's blob, to disk; 0 or -errno. On a full disk once more after asking for room. */
_must_use_ int content_sync(struct content *c, int fd, const char *digest);

/* --- big blobs --------------------------------------------------------------------------------------------------- */

/* Is it here, with so many bytes? */
bool content_has(struct content *c, const char *digest, uint64_t size);
uint64_t content_size(struct content *c, const char *digest); /* 0: it isn't here */
/* Of so many bytes, to be read (caller closes). ERR_NOT_FOUND: not kept, or of another size: @size is
 * a stranger's word, so it stays. */
_must_use_ int content_open(struct content *c, const char *digest, uint64_t size, int *ret_fd, struct err *err);

/* Is it here, with so many bytes, and its digest what it should be? Reads it all. */
bool content_is_sound(struct content *c, const char *digest, uint64_t size);

struct content_writer; /* of one thread at a time; one for each blob */

/* @digest and @c are borrowed. With @resume, what an earlier try left counts: @ret_have bytes, the
 * first of content_writer_fd()'s (borrowed; read by pread), and the caller checks the digest; without, it starts anew
 * and commit checks. ERR_EXISTS: somebody else writes this blob just now. */
_must_use_ int content_writer_new(struct content *c, const char *digest, uint64_t size, bool resume,
                                  struct content_writer **ret, uint64_t *ret_have, struct err *err);
int content_writer_fd(const struct content_writer *w);
/* ERR_DATA_LOSS: more than @size; ERR_EXHAUSTED: the disk is full. */
_must_use_ int content_writer_write(struct content_writer *w, const void *data, size_t len, struct err *err);
/* Gives the blob its name; ERR_DATA_LOSS. @durable: it is on disk when this returns, as one must be that comes from
 * nowhere else. */
_must_use_ int content_writer_commit(struct content_writer *w, bool durable, struct err *err);
/* What has not been committed goes, unless @keep_part: a later try may go on with it, if it is some MiB. NULL ok. */
struct content_writer *content_writer_free(struct content_writer *w, bool keep_part);
/* What an earlier try left is no good. */
void content_forget_part(struct content *c, const char *digest);
/* Removes parts that are not worth it, old, too many or too much, save those that are being written: 1 MiB, 24 hours,
 * 16, 8 GiB. Done at a start, and whenever one is left. */
void content_trim_parts(struct content *c);
/* All that nobody writes. @return how many bytes they take. @dry_run: only counts them. */
uint64_t content_drop_parts(struct content *c, bool dry_run, size_t *ret_n);
/* Nobody holds this blob, but what brought it may be tried again: makes it a part. */
void content_retire(struct content *c, const char *digest);

/* --- blobs that are made here --------------------------------------------------------------------------------------
 */

struct content_draft; /* of one thread at a time: a blob whose digest comes with its last byte */

_must_use_ int content_draft_new(struct content *c, struct content_draft **ret, struct err *err);
_must_use_ int content_draft_write(struct content_draft *d, const void *data, size_t len, struct err *err);
/* No more bytes. @ret_digest: DIGEST_LEN + 1. The caller holds it before it commits. */
void content_draft_end(struct content_draft *d, char ret_digest[], uint64_t *ret_size);
/* On disk under its name when it returns. */
_must_use_ int content_draft_commit(struct content_draft *d, const char *digest, struct err *err);
struct content_draft *content_draft_free(struct content_draft *d); /* what has no name goes; NULL ok */
DEFINE_CLEANUP(struct content_draft *, content_draft_free)
