/* SPDX-License-Identifier: Apache-2.0 */
/* sha256 - the compression function of SHA-256 (FIPS 180-4 section 6.2.2) by the CPU's own instructions, of one message
 * or of two at once. An instruction waits for the one before; those of another message fill the time, so that two take
 * hardly longer than one. Only hasher.c uses it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHA256_BLOCK = 64 };

struct sha256 {
        uint32_t abef[4], cdgh[4]; /* in the order of the instructions; h0 to h7 from the last of abef on */
};

/* Whether this CPU has the instructions: else nothing below may be called. */
bool sha256_is_there(void);
void sha256_begin(struct sha256 *s);
/* @n blocks. */
void sha256_one(struct sha256 *s, const uint8_t *data, size_t n);
/* @n blocks of each. */
void sha256_two(struct sha256 *s, const uint8_t *data, struct sha256 *t, const uint8_t *other, size_t n);
/* Big-endian h0 to h7; the caller has padded the message. */
void sha256_end(const struct sha256 *s, uint8_t ret[32]);
