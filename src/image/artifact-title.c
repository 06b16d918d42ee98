/* SPDX-License-Identifier: Apache-2.0 */
#include "image/artifact-title.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

static bool is_component(const char *s, size_t len) {
        return len > 0 && len <= NAME_MAX && !(len == 1 && s[0] == '.') && !(len == 2 && s[0] == '.' && s[1] == '.');
}

bool artifact_title_is_safe(const char *title) {
        unsigned depth = 0;

        if (!title || strlen(title) > ARTIFACT_TITLE_MAX)
                return false;
        for (const char *p = title; *p; p++)
                if (iscntrl((unsigned char) *p))
                        return false;
        for (const char *p = title;; p++) {
                size_t len = strcspn(p, "/");

                if (!is_component(p, len) || ++depth > ARTIFACT_TITLE_DEPTH_MAX)
                        return false;
                p += len;
                if (!*p)
                        return true;
        }
}

/* restricted-name: 127 characters at most. */
static size_t name_len(const char *s) {
        static const char more[] = "!#$&-^_.+";
        size_t n = 0;

        while (isalnum((unsigned char) s[n]) || (n > 0 && s[n] && strchr(more, s[n])))
                n++;
        return n <= 127 ? n : 0;
}

bool media_type_is_valid(const char *s) {
        size_t n = s ? name_len(s) : 0, m = n > 0 && s[n] == '/' ? name_len(s + n + 1) : 0;

        return m > 0 && !s[n + 1 + m];
}
