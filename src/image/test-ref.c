/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "image/ref.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"

#define HEX "9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf"

static const struct {
        const char *in, *out; /* out NULL: refused */
} cases[] = {
        { "busybox", "docker.io/library/busybox:latest" },
        { "busybox:1.36", "docker.io/library/busybox:1.36" },
        { "user/app", "docker.io/user/app:latest" },
        { "docker.io/busybox", "docker.io/library/busybox:latest" },
        { "index.docker.io/library/busybox", "docker.io/library/busybox:latest" },
        { "localhost/a", "localhost/a:latest" },
        { "localhost:5000/a/b:T", "localhost:5000/a/b:T" },
        { "127.0.0.1:5000/a", "127.0.0.1:5000/a:latest" },
        { "[::1]:5000/a", "[::1]:5000/a:latest" },
        { "Registry.example/a", "Registry.example/a:latest" },
        { "registry.k8s.io/e2e-test-images/busybox:1.29-2", "registry.k8s.io/e2e-test-images/busybox:1.29-2" },
        { "r.example/a@sha256:" HEX, "r.example/a@sha256:" HEX },
        { "r.example/a:tag@sha256:" HEX, "r.example/a@sha256:" HEX },
        { "a__b/c-.d", NULL },
        { "a__b/c--d.e", "docker.io/a__b/c--d.e:latest" },
        { "a___b", NULL },
        { "a..b", NULL },
        { "-a", NULL },
        { "a-", NULL },
        { "a//b", NULL },
        { "/a", NULL },
        { "a/", NULL },
        { "", NULL },
        { ":tag", NULL },
        { "a:", NULL },
        { "a:.x", NULL },
        { "a:x:y", NULL },
        { "A/b", NULL },
        { "r.example/A", NULL },
        { "http://r.example/a", NULL },
        { "r.example/../a", NULL },
        { "r.example:0/a", NULL },
        { "r.example:70000/a", NULL },
        { "r.example:x/a", NULL },
        { "-r.example/a", NULL },
        { "[::1/a", NULL },
        { "a b", NULL },
        { "a\nb", NULL },
        { "\xc3\xa9", NULL },
        { "a@sha256:" HEX "0", NULL },
        { "a@sha256:short", NULL },
        { "a@md5:d41d8cd98f00b204e9800998ecf8427e", NULL },
        { "a@", NULL },
        { "a@sha256:" HEX "@sha256:" HEX, NULL },
        { HEX, NULL },
};

int main(void) {
        struct arena *a = arena_new(1 << 20);
        char long_name[400], digest[DIGEST_LEN + 1];
        struct ref ref;
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                int r = ref_parse(cases[i].in, a, &ref, &err);

                if ((r == 0) != !!cases[i].out || (r == 0 && !str_eq(ref_string(&ref, a), cases[i].out))) {
                        fprintf(stderr, "\"%s\" gave %s\n", cases[i].in, r == 0 ? ref_string(&ref, a) : err.msg);
                        assert(false);
                }
                assert(r == 0 || (r == -ERR_INVALID && err.msg[0]));
        }
        memset(long_name, 'a', sizeof(long_name));
        long_name[256 - strlen("docker.io/library/")] = '\0';
        assert(ref_parse(long_name, a, &ref, &err) < 0);
        long_name[255 - strlen("docker.io/library/")] = '\0';
        assert(ref_parse(long_name, a, &ref, &err) == 0);
        memset(long_name, 'a', sizeof(long_name));
        memcpy(long_name, "a:", 2);
        long_name[2 + 129] = '\0';
        assert(ref_parse(long_name, a, &ref, &err) < 0);
        long_name[2 + 128] = '\0';
        assert(ref_parse(long_name, a, &ref, &err) == 0);
        digest_of("{}", 2, digest);
        assert(str_eq(digest, "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"));
        assert(digest_is_valid(digest) && !digest_is_valid(NULL) && !digest_is_valid("sha256:"));
        arena_free(a);
        return 0;
}
