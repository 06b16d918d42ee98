/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/format.h"

#include <stdio.h>
#include <string.h>
#include "base/str.h"

const char *format_age(struct arena *a, int64_t then_ns, uint64_t now_ns) {
        static const struct {
                uint64_t seconds;
                const char *name;
        } units[] = { { 31536000, "year" }, { 2592000, "month" }, { 604800, "week" }, { 86400, "day" },
                      { 3600, "hour" },     { 60, "minute" },     { 1, "second" } };
        uint64_t s;

        if (then_ns <= 0)
                return "";
        s = now_ns > (uint64_t) then_ns ? (now_ns - (uint64_t) then_ns) / 1000000000 : 0;
        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                uint64_t n = s / units[i].seconds;

                if (n > 0)
                        return arena_printf(a, "%llu %s%s ago", (unsigned long long) n, units[i].name,
                                            n == 1 ? "" : "s");
        }
        return "just now";
}

const char *format_bytes(struct arena *a, uint64_t bytes) {
        char text[32];

        str_from_bytes(bytes, text, sizeof(text));
        return arena_strdup(a, text);
}

const char *format_seconds(struct arena *a, uint64_t s) {
        if (s < 60)
                return arena_printf(a, "%us", (unsigned) s);
        if (s < 3600)
                return arena_printf(a, "%um%02us", (unsigned) (s / 60), (unsigned) (s % 60));
        if (s < 360000)
                return arena_printf(a, "%uh%02um", (unsigned) (s / 3600), (unsigned) (s / 60 % 60));
        return "days";
}

const char *format_id(struct arena *a, const char *id) {
        const char *hex = str_after(id, "sha256:");

        hex = hex ? hex : id;
        return arena_strndup(a, hex, strnlen(hex, 12));
}

bool parse_cpus(const char *s, uint64_t *ret_millis) {
        char whole_text[8];
        uint64_t whole, millis = 0;
        size_t len = strcspn(s, ".");

        if (len == 0 || len >= sizeof(whole_text))
                return false;
        memcpy(whole_text, s, len);
        whole_text[len] = '\0';
        if (!str_to_u64(whole_text, &whole) || whole > 100000)
                return false;
        if (s[len] == '.') {
                const char *digit = s + len + 1;
                uint64_t scale = 100;

                if (!*digit || strlen(digit) > 3)
                        return false;
                for (; *digit; digit++, scale /= 10) {
                        if (*digit < '0' || *digit > '9')
                                return false;
                        millis += (uint64_t) (*digit - '0') * scale;
                }
        }
        *ret_millis = whole * 1000 + millis;
        return *ret_millis > 0;
}
