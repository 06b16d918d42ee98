/* SPDX-License-Identifier: Apache-2.0 */
/* What is written is read back, by our reader and by GNU tar (through test_image_save.py). */
#undef NDEBUG
#include <assert.h>
#include <string.h>
#include "base/str.h"
#include "image/tar-write.h"
#include "image/unpack-tar.h"

static const struct {
        const char *name;
        uint64_t size;
} cases[] = {
        { "oci-layout", 0 },
        { "blobs/sha256/0123456789012345678901234567890123456789012345678901234567890123", 1 },
        { "a", 511 },
        { "b", 512 },
        { "c", UINT64_C(077777777777) },
        { "d", UINT64_C(0100000000000) },
        { "e", UINT64_C(1) << 50 },
};
static size_t seen;

static int on_entry(void *userdata, const struct tar_entry *e, struct err *err) {
        (void) userdata;
        (void) err;
        assert(e->type == TAR_FILE && str_eq(e->name, cases[seen].name) && e->size == cases[seen].size);
        assert(e->mode == 0644 && e->uid == 0 && e->gid == 0 && e->mtime == 0);
        seen++;
        return 0;
}

int main(void) {
        static const struct tar_ops ops = { .entry = on_entry };
        uint8_t header[TAR_BLOCK_BYTES];
        struct err err;

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                _cleanup_(tar_freep) struct tar *t = tar_new(&ops, NULL);

                seen = i;
                tar_write_header(cases[i].name, cases[i].size, header);
                assert(tar_write(t, header, sizeof(header), &err) == 0 && seen == i + 1);
        }
        assert(tar_write_padding(0) == 0 && tar_write_padding(1) == 511 && tar_write_padding(512) == 0 &&
               tar_write_padding(513) == 511);
        return 0;
}
