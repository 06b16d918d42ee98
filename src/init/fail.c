/* SPDX-License-Identifier: Apache-2.0 */
/* fail - see fail.h. */
#include "init/fail.h"

#include <stdarg.h>
#include <string.h>

static size_t add(struct plan_error *e, size_t at, const char *s) {
        while (*s && at < sizeof(e->text) - 1)
                e->text[at++] = *s++;
        return at;
}

/* As Go's runtimes spell them, since callers look for "no such file or directory": no capital, unless it is an acronym.
 */
static size_t add_errno(struct plan_error *e, size_t at, int sys_errno) {
        const char *s = strerror(sys_errno);
        size_t start = at;

        at = add(e, at, s);
        if (at > start + 1 && e->text[start] >= 'A' && e->text[start] <= 'Z' && e->text[start + 1] >= 'a' &&
            e->text[start + 1] <= 'z')
                e->text[start] = (char) (e->text[start] - 'A' + 'a');
        return at;
}

int fail_set(struct plan_error *e, int sys_errno, ...) {
        const char *s;
        size_t at = 0;
        va_list ap;

        memset(e, 0, sizeof(*e));
        e->type = PLAN_MSG_ERROR;
        e->sys_errno = sys_errno;
        va_start(ap, sys_errno);
        while ((s = va_arg(ap, const char *)))
                at = add(e, at, s);
        va_end(ap);
        if (sys_errno) {
                at = add(e, at, ": ");
                (void) add_errno(e, at, sys_errno);
        }
        return -1;
}

const char *text_number(char buf[24], int64_t n) {
        uint64_t u = n < 0 ? 0 - (uint64_t) n : (uint64_t) n;
        char *p = buf + 23;

        *p = '\0';
        do
                *--p = (char) ('0' + u % 10);
        while (u /= 10);
        if (n < 0)
                *--p = '-';
        return p;
}

bool text_join(char *out, size_t size, const char *a, const char *b) {
        size_t n = strlen(a), m = strlen(b);

        out[0] = '\0';
        if (n >= size || m >= size - n)
                return false;
        memcpy(out, a, n);
        memcpy(out + n, b, m + 1);
        return true;
}
