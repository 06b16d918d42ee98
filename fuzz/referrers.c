/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of referrers: what comes out is complete, bounded and of the type asked for. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/ref.h"
#include "image/referrers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct arena *arena = arena_new(REFERRERS_ARENA);
        struct image_referrer *list = arena_array(arena, struct image_referrer, REFERRERS_MAX);
        size_t n = 0, some = 0;
        struct err err;
        int r = referrers_parse((const char *) data, size, NULL, arena, list, &n, &err);

        assert(n <= REFERRERS_MAX);
        for (size_t i = 0; i < n; i++) {
                assert(digest_is_valid(list[i].digest) && list[i].annotations);
                assert(strlen(list[i].media_type) <= 1024 && strlen(list[i].artifact_type) <= 1024);
        }
        if (r == 0)
                assert(referrers_parse((const char *) data, size, "a", arena, list, &some, &err) < 0 || some <= n);
        (void) arena_free(arena);
        return 0;
}
