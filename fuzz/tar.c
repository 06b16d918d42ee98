/* SPDX-License-Identifier: Apache-2.0 */
/* tar - any bytes as an archive, in pieces of the size that the first byte says. What is handed out keeps the order and
 * the limits that unpack-tar.h promises. */
#undef NDEBUG
#include <assert.h>
#include <string.h>
#include "image/unpack-tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
        bool in_file;
        uint64_t size, stored, next;
        uint64_t sum; /* of all bytes handed out, so that each of them is looked at */
};

static int on_entry(void *userdata, const struct tar_entry *e, struct err *err) {
        struct seen *s = userdata;

        assert(!s->in_file && e->name && e->link);
        assert(strlen(e->name) <= TAR_MAX_NAME && strlen(e->link) <= TAR_MAX_NAME);
        assert(e->mode <= 07777 && e->mtime_ns < 1000000000 && e->n_xattrs <= TAR_MAX_XATTRS);
        for (size_t i = 0; i < e->n_xattrs; i++) {
                assert(e->xattrs[i].name[0] && e->xattrs[i].len <= TAR_MAX_XATTR_VALUE);
                for (size_t k = 0; k < e->xattrs[i].len; k++)
                        s->sum += ((const uint8_t *) e->xattrs[i].value)[k];
        }
        s->in_file = e->type == TAR_FILE;
        s->size = e->size;
        s->stored = e->stored_size;
        s->next = 0;
        assert(!s->in_file || e->sparse || e->size == e->stored_size);
        return 0;
}

static int on_data(void *userdata, uint64_t offset, const void *data, size_t len, struct err *err) {
        struct seen *s = userdata;

        assert(s->in_file && offset >= s->next && len <= s->stored);
        assert(offset <= s->size && len <= s->size - offset);
        for (size_t i = 0; i < len; i++)
                s->sum += ((const uint8_t *) data)[i];
        s->next = offset + len;
        s->stored -= len;
        return 0;
}

static int on_end(void *userdata, struct err *err) {
        struct seen *s = userdata;

        assert(s->in_file && s->stored == 0);
        s->in_file = false;
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const struct tar_ops ops = { on_entry, on_data, on_end };
        _cleanup_(tar_freep) struct tar *t = NULL;
        struct seen seen = { 0 };
        struct err err;
        size_t piece;

        if (!size)
                return 0;
        t = tar_new(&ops, &seen);
        piece = (size_t) data[0] * 8 + 1;
        for (data++, size--; size; data += piece, size -= piece) {
                if (piece > size)
                        piece = size;
                if (tar_write(t, data, piece, &err) < 0)
                        return 0;
        }
        if (tar_end(t, &err) == 0)
                assert(!seen.in_file);
        return 0;
}
