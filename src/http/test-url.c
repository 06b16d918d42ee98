/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "http/url.h"

#include <assert.h>
#include "base/str.h"

static const char *redirect(struct arena *a, const char *base, const char *location) {
        const char *to = NULL;
        struct err err;

        return url_redirect(base, location, a, &to, &err) < 0 ? NULL : to;
}

static void test_redirects(struct arena *a) {
        struct err err;
        const char *to;

        assert(str_eq(redirect(a, "https://r.example/v2/a?x=1", "/blob/1"), "https://r.example/blob/1"));
        assert(str_eq(redirect(a, "https://r.example/v2/a", "b?s=1"), "https://r.example/v2/b?s=1"));
        assert(str_eq(redirect(a, "https://r.example/v2/a", "//cdn.example/b"), "https://cdn.example/b"));
        assert(str_eq(redirect(a, "http://r.example/a", "https://cdn.example:444/b"), "https://cdn.example:444/b"));
        assert(str_eq(redirect(a, "https://r.example/a", "https://u:p@cdn.example/b#f"), "https://cdn.example/b"));
        assert(url_redirect("https://r.example/a", "http://r.example/a", a, &to, &err) == -ERR_PRECONDITION);
        assert(!redirect(a, "https://r.example/a", "file:///etc/passwd"));
        assert(!redirect(a, "http://r.example/a", "ftp://r.example/a"));
        assert(!redirect(a, "http://r.example/a", "gopher://r.example/a"));
        assert(!redirect(a, "http://r.example/a", "http://"));
        assert(!redirect(a, "http://r.example/a", "http://bad host/"));
}

static void test_origins(void) {
        assert(url_same_origin("https://A.example/x", "https://a.example:443/y"));
        assert(!url_same_origin("https://a.example/x", "http://a.example/x"));
        assert(!url_same_origin("https://a.example/x", "https://a.example:444/x"));
        assert(!url_same_origin("https://a.example/x", "https://b.example/x"));
        assert(!url_same_origin("https://a.example/x", "https://a.example.evil/x"));
        assert(!url_same_origin("nonsense", "nonsense:://"));
}

static void test_loopback(void) {
        assert(url_host_is_loopback("localhost") && url_host_is_loopback("LOCALHOST:5000"));
        assert(url_host_is_loopback("127.0.0.1:5000") && url_host_is_loopback("127.9.9.9"));
        assert(url_host_is_loopback("[::1]:5000"));
        assert(url_host_is_loopback("localhost/v2/a/blobs/sha256:1") && url_host_is_loopback("127.0.0.1/v2/"));
        assert(!url_host_is_loopback("localhost.example") && !url_host_is_loopback("127.0.0.1.example"));
        assert(!url_host_is_loopback("128.0.0.1") && !url_host_is_loopback("[::2]") && !url_host_is_loopback("[::1"));
        assert(!url_host_is_loopback(""));
}

static void test_people(struct arena *a) {
        assert(str_eq(url_for_people("https://u:secret@h.example/p?sig=secret#x", a), "https://h.example/p"));
        assert(str_eq(url_host("https://h.example:5000/p", a), "h.example:5000"));
        assert(str_eq(url_host("https://h.example/p", a), "h.example"));
        assert(str_eq(url_encode("a b&c=/", a), "a%20b%26c%3D%2F"));
}

int main(void) {
        struct arena *a = arena_new(1 << 20);

        test_redirects(a);
        test_origins();
        test_loopback();
        test_people(a);
        arena_free(a);
        return 0;
}
