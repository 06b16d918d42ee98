/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/upload-address.h"

static const struct {
        const char *base, *location, *want; /* NULL: refused */
} locations[] = {
        { "https://r.example/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/1?_state=x%3D",
          "https://r.example/v2/a/blobs/uploads/1?_state=x%3D" },
        { "https://r.example/v2/a/blobs/uploads/", "u1", "https://r.example/v2/a/blobs/uploads/u1" },
        { "https://r.example:5000/v2/a/blobs/uploads/", "https://r.example:5000/x", "https://r.example:5000/x" },
        { "https://r.example/v2/", "https://storage.example/put?sig=1", "https://storage.example/put?sig=1" },
        { "http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/u?a=b", "http://127.0.0.1:5000/u?a=b" },
        { "http://127.0.0.1:5000/v2/", "https://r.example/u", "https://r.example/u" },
        { "https://r.example/v2/", "https://user:pw@r.example/u#part", "https://r.example/u" },
        { "https://r.example/v2/", "http://r.example/u", NULL },
        { "https://r.example/v2/", "file:///etc/passwd", NULL },
        { "https://r.example/v2/", "ftp://r.example/u", NULL },
        { "https://r.example/v2/", "", NULL },
        { "https://r.example/v2/", NULL, NULL },
        { "https://r.example/v2/", "https://", NULL },
        { "https://r.example/v2/", "/u\x01v", NULL },
};

static void test_locations(void) {
        for (size_t i = 0; i < ELEMENTSOF(locations); i++) {
                _cleanup_(arena_freep) struct arena *arena = arena_new(256 * 1024);
                const char *got = NULL;
                struct err err = { 0 };
                int r = upload_location(locations[i].base, locations[i].location, arena, &got, &err);

                if (!locations[i].want)
                        assert(r == -ERR_UNAVAILABLE && *err.msg);
                else
                        assert(r == 0 && str_eq(got, locations[i].want));
        }
}

static void test_closing(void) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(4096);

        assert(str_eq(upload_closing("http://a/u", "sha256:1", arena), "http://a/u?digest=sha256:1"));
        assert(str_eq(upload_closing("http://a/u?", "sha256:1", arena), "http://a/u?digest=sha256:1"));
        assert(str_eq(upload_closing("http://a/u?s=1", "sha256:1", arena), "http://a/u?s=1&digest=sha256:1"));
}

static const struct {
        const char *value;
        uint64_t size, have;
        bool refused;
} ranges[] = {
        { "0-1023", 4096, 1024, false },
        { "bytes=0-1023", 4096, 1024, false },
        { "0-4095", 4096, 4096, false },
        { "0-1", 4096, 2, false },
        { "0-0", 4096, 0, false },
        { "0-4096", 4096, 0, true },
        { "1-5", 4096, 0, true },
        { "0-", 4096, 0, true },
        { "0--1", 4096, 0, true },
        { "-5", 4096, 0, true },
        { "0-18446744073709551615", 4096, 0, true },
        { "0-18446744073709551616", 4096, 0, true },
        { "0-5/10", 4096, 0, true },
        { "bytes 0-5", 4096, 0, true },
        { "", 4096, 0, true },
        { NULL, 4096, 0, true },
        { "0-0", 1, 0, true },
        { "0-5", 0, 0, true },
};

static void test_ranges(void) {
        for (size_t i = 0; i < ELEMENTSOF(ranges); i++) {
                uint64_t have = 0;

                assert(upload_range(ranges[i].value, ranges[i].size, &have) == !ranges[i].refused);
                assert(have == ranges[i].have);
        }
        assert(upload_min_chunk("5242880") == 5242880 && upload_min_chunk(NULL) == 0 && upload_min_chunk("-1") == 0);
        assert(upload_min_chunk("99999999999999") == 0 && upload_min_chunk("5 MiB") == 0);
}

int main(void) {
        test_locations();
        test_closing();
        test_ranges();
        return 0;
}
