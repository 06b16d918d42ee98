/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/upid.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"

/* The field up to the next ':', which is skipped; NULL when there is none or it does not fit. */
static const char *field(const char *s, char *out, size_t size) {
        const char *end = strchr(s, ':');

        if (!end || (size_t) (end - s) >= size)
                return NULL;
        memcpy(out, s, (size_t) (end - s));
        out[end - s] = '\0';
        return end + 1;
}

static const char *hex_field(const char *s, size_t min, size_t max, uint64_t *ret) {
        char digits[16];
        const char *next = field(s, digits, sizeof(digits));
        size_t len;

        if (!next)
                return NULL;
        len = strlen(digits);
        if (len < min || len > max || strspn(digits, "0123456789abcdefABCDEF") != len)
                return NULL;
        *ret = strtoull(digits, NULL, 16);
        return next;
}

static bool is_word(const char *s, const char *more) {
        for (; *s; s++)
                if (!isalnum((unsigned char) *s) && !strchr(more, *s))
                        return false;
        return true;
}

static bool is_node(const char *s) {
        return *s && *s != '-' && s[strlen(s) - 1] != '-' && is_word(s, "-");
}

/* User names may be odd, but have neither blanks nor slashes. */
static bool is_user(const char *s) {
        for (const char *p = s; *p; p++)
                if (*p == '/' || !isgraph((unsigned char) *p))
                        return false;
        return *s != '@' && strchr(s, '@');
}

bool upid_parse(const char *text, struct upid *ret) {
        const char *p = strnlen(text, UPID_MAX + 1) <= UPID_MAX ? str_after(text, "UPID:") : NULL;

        p = p ? field(p, ret->node, sizeof(ret->node)) : NULL;
        p = p ? hex_field(p, 8, 8, &ret->pid) : NULL;
        p = p ? hex_field(p, 8, 9, &ret->pstart) : NULL;
        p = p ? hex_field(p, 8, 8, &ret->starttime) : NULL;
        p = p ? field(p, ret->type, sizeof(ret->type)) : NULL;
        p = p ? field(p, ret->id, sizeof(ret->id)) : NULL;
        p = p ? field(p, ret->user, sizeof(ret->user)) : NULL;
        return p && !*p && is_node(ret->node) && *ret->type && is_word(ret->type, "_-") &&
               is_word(ret->id, "_-.@\\,") && is_user(ret->user);
}
