/* SPDX-License-Identifier: Apache-2.0 */
/* upload - the push half of the distribution API: blobs and manifests into one repository of a registry (never into its
 * mirrors). Private to image/. A source made with .push may be used by several threads at once; an upload and its
 * reader belong to one.
 *
 * A blob that is there already is not sent; one that another repository of the registry has is mounted from there. Else
 * it goes in one request, or in pieces where it is large, and each piece is streamed: memory does not depend on sizes.
 * A connection that breaks, an error 5xx or 429 and a token that has run out cost what was on the way: the registry is
 * asked how much it has, and the upload goes on from there. A piece that something on the way finds too large (413)
 * comes again in smaller ones. All tries are bounded. */
#pragma once
#include <stdbool.h>
#include "image/registry.h"

/* Where a blob's bytes come from. */
struct blob_reader {
        /* The next bytes wanted are those from @offset on. Called before the first read, and again to go on elsewhere.
         */
        int (*seek)(uint64_t offset, void *userdata, struct err *err);
        /* At least one byte. It may wait; cancelling its source has to end that. */
        int (*read)(void *data, size_t size, size_t *ret_len, void *userdata, struct err *err);
        void (*sent)(uint64_t done, void *userdata); /* so far; may go back; may be NULL */
        void *userdata;
};

enum upload_outcome { UPLOAD_SENT, UPLOAD_EXISTS, UPLOAD_MOUNTED };

/* Does the repository have the blob? */
_must_use_ int upload_has_blob(struct source *s, const char *digest, bool *ret, struct err *err);
/* Does it have the manifest @reference (tag or digest)? */
_must_use_ int upload_has_manifest(struct source *s, const char *reference, bool *ret, struct err *err);
/* Bring a blob there. @mount_from: a repository of the same registry that may have it, or NULL (source_args.mount_from
 * is to name it, too, so that tokens allow it). What the reader gives is checked against @digest before the upload is
 * closed: ERR_DATA_LOSS. Errors name registry, step and advice. */
_must_use_ int upload_blob(struct source *s, const char *digest, uint64_t size, const char *mount_from,
                           const struct blob_reader *reader, enum upload_outcome *ret, struct err *err);

struct upload_manifest {
        const char *reference; /* tag or digest */
        const char *data, *media_type;
        size_t len;
};
/* Put it, as it is. @ret_subject_known: the registry lists it as a referrer of its subject (OCI-Subject); may be NULL.
 */
_must_use_ int upload_manifest(struct source *s, const struct upload_manifest *m, bool *ret_subject_known,
                               struct err *err);
/* Remove the manifest that @reference (tag or digest) leads to, and with it every tag that has it. @ret_digest: the
 * manifest's. ERR_NOT_FOUND; ERR_UNIMPLEMENTED where the registry does not allow it. */
_must_use_ int upload_remove_manifest(struct source *s, const char *reference, char ret_digest[DIGEST_LEN + 1],
                                      struct err *err);
