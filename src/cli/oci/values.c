/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci/values.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/str.h"

enum { TEXT_MAX = 32 };

/* Names that signal(7) has beside those which glibc knows. */
static int signal_alias(const char *name) {
        static const struct {
                const char *name;
                int sig;
        } aliases[] = { { "CLD", SIGCHLD }, { "IOT", SIGABRT }, { "POLL", SIGIO }, { "UNUSED", SIGSYS } };

        for (size_t i = 0; i < ELEMENTSOF(aliases); i++)
                if (str_eq(name, aliases[i].name))
                        return aliases[i].sig;
        return 0;
}

static int signal_realtime(const char *name) {
        const char *offset;
        uint64_t n = 0;
        int first = SIGRTMIN, last = SIGRTMAX;

        if ((offset = str_after(name, "RTMIN")))
                return !*offset ? first
                       : *offset == '+' && str_to_u64(offset + 1, &n) && n <= (uint64_t) (last - first)
                               ? first + (int) n
                               : 0;
        if ((offset = str_after(name, "RTMAX")))
                return !*offset                                                                         ? last
                       : *offset == '-' && str_to_u64(offset + 1, &n) && n <= (uint64_t) (last - first) ? last - (int) n
                                                                                                        : 0;
        return 0;
}

int signal_parse(const char *s) {
        char name[TEXT_MAX];
        const char *after;
        uint64_t n;
        size_t i;
        int sig;

        if (str_to_u64(s, &n))
                return n > 0 && n < (uint64_t) NSIG ? (int) n : 0;
        for (i = 0; i < sizeof(name) - 1 && s[i]; i++)
                name[i] = (char) toupper((unsigned char) s[i]);
        if (s[i])
                return 0;
        name[i] = '\0';
        after = str_after(name, "SIG");
        after = after ? after : name;
        for (sig = 1; sig < NSIG; sig++)
                if (str_eq(after, sigabbrev_np(sig)))
                        return sig;
        sig = signal_alias(after);
        return sig ? sig : signal_realtime(after);
}

bool size_parse(const char *s, int64_t *ret) {
        static const char units[] = "kmgtp";
        uint64_t n, factor = 1;

        if (strcmp(s, "-1") == 0) {
                *ret = -1;
                return true;
        }
        if (str_to_u64(s, &n)) {
                *ret = (int64_t) n;
                return n <= INT64_MAX;
        }
        if (!str_take_thousandths(&s, &n))
                return false;
        for (size_t i = 0; units[i] && *s; i++) {
                factor *= 1024;
                if (tolower((unsigned char) *s) == units[i]) {
                        if (n > (uint64_t) INT64_MAX / factor)
                                return false;
                        *ret = (int64_t) (n * factor / 1000);
                        return !s[1] || strcasecmp(s + 1, "b") == 0 || strcasecmp(s + 1, "ib") == 0;
                }
        }
        *ret = (int64_t) (n / 1000);
        return strcasecmp(s, "b") == 0;
}

bool number_parse(const char *s, int64_t min, int64_t max, int64_t *ret) {
        return str_to_i64(s, ret) && *ret >= min && *ret <= max;
}
