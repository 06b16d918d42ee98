/* SPDX-License-Identifier: Apache-2.0 */
/* Image references: what parses is stable (parsing its full form gives the same) and within the limits. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct arena *arena = arena_new(64 * 1024);
        char *text = xstrndup((const char *) data, size);
        struct ref one, two;
        const char *full;
        struct err err;

        if (ref_parse(text, arena, &one, &err) == 0) {
                full = ref_string(&one, arena);
                assert(ref_parse(full, arena, &two, &err) == 0);
                assert(str_eq(full, ref_string(&two, arena)));
                assert(strlen(ref_name(&one, arena)) <= REF_NAME_MAX);
                assert(!one.tag != !one.digest && (!one.digest || digest_is_valid(one.digest)));
                assert(!strstr(one.path, "..") && one.path[0] != '/');
        }
        free(text);
        (void) arena_free(arena);
        return 0;
}
