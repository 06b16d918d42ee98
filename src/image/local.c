/* SPDX-License-Identifier: Apache-2.0 */
#include "image/local.h"

#include "base/alloc.h"
#include "base/str.h"
#include "image/ref.h"

int local_manifest(struct content *c, const char *id, const char *const *blobs, struct arena *arena,
                   struct local_manifest *ret, struct err *err) {
        for (; *blobs; blobs++) {
                _cleanup_(freep) char *data = NULL;
                struct manifest m;
                struct err ignored;
                size_t len;

                if (!content_read(c, *blobs, MANIFEST_BYTES_MAX, &data, &len) ||
                    manifest_parse(data, len, "", arena, &m, &ignored) < 0 || m.is_index ||
                    !str_eq(m.config.digest, id))
                        continue;
                *ret = (struct local_manifest){ *blobs, arena_memdup(arena, data, len), len, m };
                return 0;
        }
        return err_set(err, ERR_DATA_LOSS, "its manifest is missing or damaged: pull it again");
}

const char *local_tag(const struct image *image, const char *ref, struct arena *arena) {
        struct err ignored;
        struct ref parsed;

        if (ref_parse(ref, arena, &parsed, &ignored) < 0)
                return NULL;
        for (const char **tag = image->repo_tags; *tag; tag++)
                if (str_eq(*tag, ref_string(&parsed, arena)))
                        return *tag;
        return NULL;
}
