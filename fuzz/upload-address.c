/* SPDX-License-Identifier: Apache-2.0 */
/* What a registry says about an upload: where it goes on is an http(s) URL that parses again, never plain http behind
 * https; what it has is never more than there is. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "http/url.h"
#include "image/upload-address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const bases[] = { "https://r.example/v2/a/blobs/uploads/",
                                             "http://127.0.0.1:5000/v2/a/blobs/uploads/" };
        struct arena *arena = arena_new(1 << 20);
        char *text = xstrndup((const char *) data, size);
        const char *got, *again;
        uint64_t have;
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(bases); i++) {
                if (upload_location(bases[i], text, arena, &got, &err) < 0)
                        continue;
                assert(url_is_https(got) || (i == 1 && str_after(got, "http://")));
                assert(url_normalize(upload_closing(got, "sha256:0", arena), arena, &again, &err) == 0);
                assert(strstr(again, "digest=sha256:0") && url_same_origin(got, again));
        }
        if (upload_range(text, 1000, &have))
                assert(have <= 1000);
        (void) upload_min_chunk(text);
        free(text);
        (void) arena_free(arena);
        return 0;
}
