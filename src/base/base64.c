/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char for_urls[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static char *put_group(const char *alphabet, uint32_t bits, char *to) {
        *to++ = alphabet[bits >> 18 & 63];
        *to++ = alphabet[bits >> 12 & 63];
        *to++ = alphabet[bits >> 6 & 63];
        *to++ = alphabet[bits & 63];
        return to;
}

static char *put_groups(const char *alphabet, const uint8_t *p, size_t groups, char *to) {
        for (; groups; groups--, p += 3)
                to = put_group(alphabet, (uint32_t) p[0] << 16 | (uint32_t) p[1] << 8 | p[2], to);
        return to;
}

size_t base64_encode(const void *data, size_t n, char *out) {
        const uint8_t *p = data;
        char *to = put_groups(standard, p, n / 3, out);
        size_t rest = n % 3;

        if (rest) {
                p += n - rest;
                to = put_group(standard, (uint32_t) p[0] << 16 | (rest == 2 ? (uint32_t) p[1] << 8 : 0), to);
                to[-1] = '=';
                if (rest == 1)
                        to[-2] = '=';
        }
        return (size_t) (to - out);
}

void base64_encode_url(const void *data, size_t n, char *out) {
        (void) put_groups(for_urls, data, n / 3, out);
}

static int value_of(uint8_t c) {
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool take_char(struct base64_decoder *d, uint8_t c) {
        int v = 0;

        if (c == '=') {
                /* Two at most, and only where a group may be short. */
                if (d->padding == 2 || d->chars < 2)
                        return false;
                d->padding++;
        } else {
                v = value_of(c);
                if (v < 0 || d->padding)
                        return false;
        }
        d->bits = d->bits << 6 | (uint32_t) v;
        d->chars++;
        return true;
}

ssize_t base64_decode(struct base64_decoder *d, const uint8_t *in, size_t n, uint8_t *out) {
        uint8_t *to = out;

        for (size_t i = 0; i < n; i++) {
                /* A padded group is the last one. */
                if (d->padding && d->chars == 0)
                        return -1;
                if (!take_char(d, in[i]))
                        return -1;
                if (d->chars < 4)
                        continue;
                *to++ = (uint8_t) (d->bits >> 16);
                if (d->padding < 2)
                        *to++ = (uint8_t) (d->bits >> 8);
                if (d->padding < 1)
                        *to++ = (uint8_t) d->bits;
                d->bits = 0;
                d->chars = 0;
        }
        return to - out;
}

char *base64_text(const void *data, size_t n) {
        char *out = xcalloc(1, BASE64_LEN(n) + 1);

        (void) base64_encode(data, n, out);
        return out;
}

char *base64_plain(const char *text) {
        size_t n = strlen(text);
        char *out = xcalloc(1, 3 * (n / 4 + 1) + 1);
        struct base64_decoder d = { 0 };
        ssize_t len = base64_decode(&d, (const uint8_t *) text, n, (uint8_t *) out);

        if (len > 0 && base64_complete(&d) && strlen(out) == (size_t) len)
                return out;
        explicit_bzero(out, 3 * (n / 4 + 1));
        free(out);
        return NULL;
}
