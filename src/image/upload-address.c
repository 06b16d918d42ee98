/* SPDX-License-Identifier: Apache-2.0 */
#include "image/upload-address.h"

#include <string.h>
#include "base/str.h"
#include "http/url.h"

enum { MIN_CHUNK_MAX = 1 << 30 }; /* more is nonsense */

int upload_location(const char *base, const char *location, struct arena *arena, const char **ret, struct err *err) {
        int r;

        if (str_empty(location))
                return err_set(err, ERR_UNAVAILABLE, "the registry does not say where the upload goes (no Location)");
        r = url_redirect(base, location, arena, ret, err);
        if (r == -ERR_PRECONDITION)
                return err_set(
                        err, ERR_UNAVAILABLE,
                        "the registry, asked by https, wants the upload by plain http (%s): it has to be told its own "
                        "address, or the proxy before it has to say X-Forwarded-Proto",
                        url_for_people(location, arena));
        if (r < 0)
                return err_set(err, ERR_UNAVAILABLE, "the registry wants the upload at something that is no URL");
        return 0;
}

const char *upload_closing(const char *location, const char *digest, struct arena *arena) {
        const char *query = strchr(location, '?'), *between = !query ? "?" : query[1] ? "&" : "";

        return arena_printf(arena, "%s%sdigest=%s", location, between, digest);
}

bool upload_range(const char *value, uint64_t size, uint64_t *ret_have) {
        const char *rest = value ? str_after(value, "bytes=") ?: value : NULL;
        uint64_t last;

        rest = rest ? str_after(rest, "0-") : NULL;
        if (!rest || !str_to_u64(rest, &last) || last >= size || size == 1)
                return false;
        *ret_have = last == 0 ? 0 : last + 1;
        return true;
}

uint64_t upload_min_chunk(const char *value) {
        uint64_t n;

        return value && str_to_u64(value, &n) && n <= MIN_CHUNK_MAX ? n : 0;
}
