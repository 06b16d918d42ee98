/* SPDX-License-Identifier: Apache-2.0 */
/* base64 - RFC 4648's standard alphabet with padding, whole or in pieces, and the URL alphabet for tokens. No I/O. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/attr.h"

#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* Writes BASE64_LEN(n) characters, no NUL. Returns how many. */
size_t base64_encode(const void *data, size_t n, char *out);
/* The URL alphabet; @n is a multiple of 3, so that there is no padding. */
void base64_encode_url(const void *data, size_t n, char *out);

/* One message, decoded as it comes. {0} is a fresh one. */
struct base64_decoder {
        uint32_t bits;
        uint8_t chars;   /* of a group of four */
        uint8_t padding; /* "=" seen; nothing else may follow */
};

/* Room for @n characters' bytes is 3 * (n / 4 + 1). Returns how many bytes came out, or -1. */
_must_use_ ssize_t base64_decode(struct base64_decoder *d, const uint8_t *in, size_t n, uint8_t *out);
/* True when the message may end here. */
static inline bool base64_complete(const struct base64_decoder *d) {
        return d->chars == 0;
}

/* All at once, as strings that the caller frees. */
char *base64_text(const void *data, size_t n);
/* NULL for what is no base64, is empty, or has a NUL in it. */
char *base64_plain(const char *text);
