/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <string.h>
#include "base/str.h"
#include "image/artifact-title.h"

int main(void) {
        static const char *const safe[] = { "a", "a/b/c", "..a", "a..", "...", ".hidden", "a b", "\xc3\xa4", "a:b" },
                                 *const unsafe[] = { "",     "/",   "/a",  "a/",     "a//b", ".",       "..",   "../a",
                                                     "a/..", "a/.", "./a", "a/../b", "a\nb", "\x1b[2J", "a\x7f" },
                                 *const types[] = { "a/b", "application/vnd.oci.image.layer.v1.tar+gzip",
                                                    "text/plain" },
                                 *const others[] = { "",      "a",       "/",    "a/",    "/b",   "a/b/c",
                                                     "a b/c", "a/b;c=d", "+a/b", "a/b\n", "\"a/b" };
        char text[ARTIFACT_TITLE_MAX + 300];

        for (size_t i = 0; i < ELEMENTSOF(safe); i++)
                assert(artifact_title_is_safe(safe[i]));
        for (size_t i = 0; i < ELEMENTSOF(unsafe); i++)
                assert(!artifact_title_is_safe(unsafe[i]));
        assert(!artifact_title_is_safe(NULL) && !media_type_is_valid(NULL));
        for (size_t i = 0; i < ELEMENTSOF(types); i++)
                assert(media_type_is_valid(types[i]));
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                assert(!media_type_is_valid(others[i]));
        memset(text, 'a', sizeof(text));
        text[255] = '\0';
        assert(artifact_title_is_safe(text) && !media_type_is_valid(text));
        text[255] = 'a';
        text[256] = '\0';
        assert(!artifact_title_is_safe(text));
        text[256] = 'a';
        for (size_t i = 1; i < sizeof(text); i += 2)
                text[i] = '/';
        text[63] = '\0';
        assert(artifact_title_is_safe(text));
        text[63] = '/';
        text[65] = '\0';
        assert(!artifact_title_is_safe(text));
        return 0;
}
