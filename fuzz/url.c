/* SPDX-License-Identifier: Apache-2.0 */
/* url - two lines: a URL, and a redirect's location. What is taken is http(s), in normal form, and tells no secrets. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include "base/str.h"
#include "http/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *url, struct arena *arena) {
        const char *again, *shown = url_for_people(url, arena);
        struct err err;

        assert(str_after(url, "http://") || str_after(url, "https://"));
        assert(url_is_https(url) == !!str_after(url, "https://"));
        assert(url_normalize(url, arena, &again, &err) == 0 && str_eq(url, again));
        assert(url_same_origin(url, url) && url_host(url, arena));
        assert(!strchr(shown, '?') && !strchr(shown, '#'));
        (void) url_host_is_loopback(url_host(url, arena));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(16 << 20);
        char *base = arena_strndup(arena, (const char *) data, size);
        char *location = strchrnul(base, '\n');
        const char *url, *to;
        struct err err;

        (void) url_host_is_loopback(base);
        (void) url_encode(base, arena);
        if (*location)
                *location++ = '\0';
        if (url_normalize(base, arena, &url, &err) < 0)
                return 0;
        check(url, arena);
        if (url_redirect(url, location, arena, &to, &err) < 0)
                return 0;
        check(to, arena);
        assert(!url_is_https(url) || url_is_https(to));
        return 0;
}
