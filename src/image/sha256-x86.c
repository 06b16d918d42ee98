/* SPDX-License-Identifier: Apache-2.0 */
#include <cpuid.h>
#include <endian.h>
#include <immintrin.h>
#include <string.h>
#include "image/sha256.h"

#define SHA_NI __attribute__((target("sha,sse4.1")))

enum { ROUNDS = 64, AT_ONCE = 4, LAST_SCHEDULED = ROUNDS - 4 * AT_ONCE };

static const uint32_t k[ROUNDS] __attribute__((aligned(16))) = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* A message on its way: the working variables, and the next 16 words of its schedule. */
struct lane {
        __m128i abef, cdgh, w[4];
};

bool sha256_is_there(void) {
        unsigned a, b, c, d, b7;

        return __get_cpuid_count(7, 0, &a, &b7, &c, &d) && b7 & bit_SHA && __get_cpuid(1, &a, &b, &c, &d) &&
               c & bit_SSE4_1 && c & bit_SSSE3;
}

void sha256_begin(struct sha256 *s) {
        *s = (struct sha256){ .abef = { 0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667 },
                              .cdgh = { 0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372 } };
}

static inline __m128i at(const void *p) {
        return _mm_loadu_si128(p);
}

SHA_NI static inline void load(struct lane *l, const uint8_t *block) {
        const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);

        for (int i = 0; i < 4; i++)
                l->w[i] = _mm_shuffle_epi8(at(block + 16 * i), big_endian);
}

/* Words t to t + 3 are in w[t / 4 % 4]; those of t + 16 take their place. */
SHA_NI static inline void schedule(struct lane *l, int t) {
        __m128i *w = &l->w[t / 4 % 4], w1 = l->w[(t / 4 + 1) % 4], w2 = l->w[(t / 4 + 2) % 4],
                w3 = l->w[(t / 4 + 3) % 4];

        *w = _mm_add_epi32(_mm_sha256msg1_epu32(*w, w1), _mm_alignr_epi8(w3, w2, 4));
        *w = _mm_sha256msg2_epu32(*w, w3);
}

/* @lanes is known where this is expanded: the loops over them are none in the code. */
SHA_NI __attribute__((always_inline)) static inline void compress(struct sha256 *const s[], const uint8_t *data[],
                                                                  size_t n, int lanes) {
        struct lane l[2];

        for (int i = 0; i < lanes; i++)
                l[i] = (struct lane){ .abef = at(s[i]->abef), .cdgh = at(s[i]->cdgh) };
        for (; n > 0; n--) {
                struct lane before[2];
                __m128i wk[2];

                for (int i = 0; i < lanes; i++) {
                        before[i] = l[i];
                        load(&l[i], data[i]);
                        data[i] += SHA256_BLOCK;
                }
#pragma GCC unroll 16
                for (int t = 0; t < ROUNDS; t += AT_ONCE) {
                        for (int i = 0; i < lanes; i++) {
                                wk[i] = _mm_add_epi32(l[i].w[t / 4 % 4], at(&k[t]));
                                l[i].cdgh = _mm_sha256rnds2_epu32(l[i].cdgh, l[i].abef, wk[i]);
                        }
                        for (int i = 0; i < lanes; i++)
                                l[i].abef = _mm_sha256rnds2_epu32(l[i].abef, l[i].cdgh, _mm_shuffle_epi32(wk[i], 0x0e));
                        for (int i = 0; i < lanes && t < LAST_SCHEDULED; i++)
                                schedule(&l[i], t);
                }
                for (int i = 0; i < lanes; i++) {
                        l[i].abef = _mm_add_epi32(l[i].abef, before[i].abef);
                        l[i].cdgh = _mm_add_epi32(l[i].cdgh, before[i].cdgh);
                }
        }
        for (int i = 0; i < lanes; i++) {
                _mm_storeu_si128((__m128i *) (void *) s[i]->abef, l[i].abef);
                _mm_storeu_si128((__m128i *) (void *) s[i]->cdgh, l[i].cdgh);
        }
}

SHA_NI void sha256_one(struct sha256 *s, const uint8_t *data, size_t n) {
        compress(&s, &data, n, 1);
}

SHA_NI void sha256_two(struct sha256 *s, const uint8_t *data, struct sha256 *t, const uint8_t *other, size_t n) {
        compress((struct sha256 *[]){ s, t }, (const uint8_t *[]){ data, other }, n, 2);
}

void sha256_end(const struct sha256 *s, uint8_t ret[32]) {
        const uint32_t h[8] = { htobe32(s->abef[3]), htobe32(s->abef[2]), htobe32(s->cdgh[3]), htobe32(s->cdgh[2]),
                                htobe32(s->abef[1]), htobe32(s->abef[0]), htobe32(s->cdgh[1]), htobe32(s->cdgh[0]) };

        memcpy(ret, h, sizeof(h));
}
