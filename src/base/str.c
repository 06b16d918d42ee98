/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

bool str_ends_with(const char *s, const char *suffix) {
        size_t n = strlen(s), m = strlen(suffix);
        return n >= m && strcmp(s + n - m, suffix) == 0;
}

bool str_to_u64(const char *s, uint64_t *ret) {
        unsigned long long v;
        char *end;

        if (str_empty(s) || *s < '0' || *s > '9')
                return false;
        errno = 0;
        v = strtoull(s, &end, 10);
        if (errno || *end)
                return false;
        *ret = v;
        return true;
}

bool str_to_i64(const char *s, int64_t *ret) {
        const char *digits = s && *s == '-' ? s + 1 : s;
        long long v;
        char *end;

        if (str_empty(digits) || *digits < '0' || *digits > '9')
                return false;
        errno = 0;
        v = strtoll(s, &end, 10);
        if (errno || *end)
                return false;
        *ret = v;
        return true;
}

bool str_to_bytes(const char *s, uint64_t *ret) {
        static const char units[] = "kmgtp";
        unsigned long long v;
        const char *unit;
        char *end;
        int shift = 0;

        if (str_empty(s) || *s < '0' || *s > '9')
                return false;
        errno = 0;
        v = strtoull(s, &end, 10);
        if (errno)
                return false;
        if (*end && (unit = strchr(units, *end | 0x20))) {
                shift = 10 * (int) (unit - units + 1);
                end++;
                if (*end == 'i')
                        end++;
        }
        if (*end == 'B' || *end == 'b')
                end++;
        if (*end || (shift && v >> (64 - shift)))
                return false;
        *ret = v << shift;
        return true;
}

void str_from_bytes(uint64_t bytes, char *out, size_t out_size) {
        static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
        double v = (double) bytes;
        size_t u = 0;

        while (v >= 1024 && u + 1 < ELEMENTSOF(units)) {
                v /= 1024;
                u++;
        }
        if (u == 0)
                (void) snprintf(out, out_size, "%llu B", (unsigned long long) bytes);
        else
                (void) snprintf(out, out_size, "%.1f %s", v, units[u]);
}

/* How many bytes the character at @s has: 1 for what is none. */
static size_t character_len(const char *s) {
        unsigned char c = (unsigned char) *s;
        size_t len = c < 0xc2 || c > 0xf4 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

        for (size_t i = 1; i < len; i++)
                if (((unsigned char) s[i] & 0xc0) != 0x80)
                        return 1;
        return len;
}

void str_make_printable(char *s, const char *kept) {
        char *to = s;

        for (size_t len; *s; s += len) {
                unsigned char c = (unsigned char) *s;

                len = character_len(s);
                if (len == 1 ? c >= 0x7f || (c < ' ' && !strchr(kept, *s)) : c == 0xc2 && (unsigned char) s[1] < 0xa0) {
                        *to++ = '?';
                        continue;
                }
                memmove(to, s, len);
                to += len;
        }
        *to = '\0';
}

void hex_encode(const void *bytes, size_t n, char *out) {
        static const char digits[] = "0123456789abcdef";
        const unsigned char *p = bytes;

        for (size_t i = 0; i < n; i++) {
                out[2 * i] = digits[p[i] >> 4];
                out[2 * i + 1] = digits[p[i] & 15];
        }
        out[2 * n] = '\0';
}

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c = (char) (c | 0x20);
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode_byte(const char *two) {
        int high = hex_digit(two[0]), low = high < 0 ? -1 : hex_digit(two[1]);

        return low < 0 ? -1 : high * 16 + low;
}

void id_new(char out[ID_LEN + 1]) {
        unsigned char raw[ID_LEN / 2];

        if (getrandom(raw, sizeof(raw), 0) != (ssize_t) sizeof(raw))
                abort();
        hex_encode(raw, sizeof(raw), out);
}

bool id_is_valid(const char *s) {
        size_t n = strspn(s, "0123456789abcdef");
        return n == ID_LEN && s[n] == '\0';
}

static uint64_t clock_ns(clockid_t id) {
        struct timespec ts;

        (void) clock_gettime(id, &ts);
        return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

uint64_t clock_realtime_ns(void) {
        return clock_ns(CLOCK_REALTIME);
}

uint64_t clock_monotonic_ns(void) {
        return clock_ns(CLOCK_MONOTONIC);
}

bool str_take_thousandths(const char **s, uint64_t *ret_thousandths) {
        uint64_t whole = 0, part = 0, scale = 100;
        const char *p = *s;

        if (!isdigit((unsigned char) *p))
                return false;
        for (; isdigit((unsigned char) *p); p++) {
                if (whole > UINT32_MAX * 1000ULL)
                        return false;
                whole = whole * 10 + (uint64_t) (*p - '0');
        }
        if (*p == '.')
                for (p++; isdigit((unsigned char) *p); p++, scale /= 10)
                        part += (uint64_t) (*p - '0') * scale;
        *s = p;
        *ret_thousandths = whole * 1000 + part;
        return true;
}

bool str_to_duration(const char *s, uint64_t *ret_ms) {
        static const struct {
                const char *name;
                uint64_t us;
        } units[] = { { "ms", 1000 }, { "us", 1 }, { "h", 3600000000 }, { "m", 60000000 }, { "s", 1000000 } };
        const uint64_t year_ms = 86400ULL * 366 * 1000;
        uint64_t total_us = 0, n;
        size_t i;

        if (!*s)
                return false;
        while (*s) {
                if (!str_take_thousandths(&s, &n))
                        return false;
                for (i = 0; i < ELEMENTSOF(units); i++)
                        if (str_after(s, units[i].name))
                                break;
                if (i == ELEMENTSOF(units) || n > year_ms * 1000 / units[i].us * 1000)
                        return false;
                s += strlen(units[i].name);
                total_us += n * units[i].us / 1000;
                if (total_us > year_ms * 1000)
                        return false;
        }
        *ret_ms = total_us / 1000;
        return true;
}
