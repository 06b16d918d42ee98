/* SPDX-License-Identifier: Apache-2.0 */
#include "image/blob-fetch.h"

static int put_bytes(const void *data, size_t len, void *userdata, struct err *err) {
        return content_writer_write(userdata, data, len, err);
}

static int fetch(struct content *c, struct source *from, const struct descriptor *d, bool no_mirrors, struct err *err) {
        struct content_writer *w = NULL;
        uint64_t have;
        int r = content_writer_new(c, d->digest, d->size, false, &w, &have, err);

        if (r == 0) {
                const struct blob_sink sink = { .write = put_bytes, .userdata = w };

                r = source_get_blob(from, d->digest, d->size, &sink, no_mirrors, err);
        }
        if (r == 0)
                r = content_writer_commit(w, true, err);
        (void) content_writer_free(w, false);
        return r;
}

int blob_fetch(struct content *c, struct source *from, const struct descriptor *d, struct err *err) {
        int r = fetch(c, from, d, false, err);

        /* A mirror that serves rubbish costs another download. */
        return r == -ERR_DATA_LOSS && source_has_mirrors(from) ? fetch(c, from, d, true, err) : r;
}
