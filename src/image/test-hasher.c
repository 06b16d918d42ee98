/* SPDX-License-Identifier: Apache-2.0 */
/* What OpenSSL says of the same bytes, however they come: in pieces, left for others, in many threads. */
#undef NDEBUG
#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include "base/str.h"
#include "base/thread.h"
#include "image/hasher.h"

enum { KIB = 1024, LONGEST = 300, THREADS = 6, BUFFERS = 5, HELD = 2, BUFFER_MAX = 64 * KIB, ROUNDS = 400 };

static void fill(uint8_t *data, size_t len, uint32_t seed) {
        for (size_t i = 0; i < len; i++) {
                seed = seed * 1664525 + 1013904223;
                data[i] = (uint8_t) (seed >> 24);
        }
}

static EVP_MD_CTX *openssl_new(void) {
        EVP_MD_CTX *c = EVP_MD_CTX_new();

        assert(c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1);
        return c;
}

/* Frees both. */
static void assert_same(struct hasher *h, EVP_MD_CTX *c) {
        char ours[65], theirs[65];
        uint8_t md[32];

        assert(EVP_DigestFinal_ex(c, md, NULL) == 1);
        hex_encode(md, sizeof(md), theirs);
        hasher_end(h, ours);
        assert(str_eq(ours, theirs));
        (void) hasher_free(h);
        EVP_MD_CTX_free(c);
}

static void assert_hash(struct hasher *h, const void *data, size_t len) {
        EVP_MD_CTX *c = openssl_new();

        assert(EVP_DigestUpdate(c, data, len) == 1);
        assert_same(h, c);
}

static void test_each_length_in_two_pieces(void) {
        uint8_t data[LONGEST];

        fill(data, sizeof(data), 1);
        for (size_t len = 0; len <= LONGEST; len++)
                for (size_t first = 0; first <= len; first++) {
                        struct hasher *h = hasher_new();

                        hasher_update(h, data, first);
                        hasher_update(h, data + first, len - first);
                        assert_hash(h, data, len);
                }
}

/* Another takes along what was left, as much as it has itself: that much is not looked at again. */
static void test_taken_along(void) {
        static const size_t all = 256 * KIB;
        static uint8_t data[256 * KIB], other[256 * KIB], copy[256 * KIB];

        fill(data, all, 2);
        memcpy(copy, data, all);
        fill(other, all, 3);
        for (size_t len = 64 * KIB; len <= all; len += 64 * KIB) {
                struct hasher *h = hasher_new(), *o = hasher_new();

                memcpy(data, copy, all);
                hasher_leave(h, data, all);
                hasher_update(o, other, len);
                memset(data, 0, len);
                hasher_settle(h, 0);
                assert_hash(h, copy, all);
                assert_hash(o, other, len);
        }
}

/* More than can be left: what was left first is hashed. */
static void test_pieces_in_order(void) {
        static uint8_t data[16 * KIB];
        struct hasher *h = hasher_new();

        fill(data, sizeof(data), 4);
        for (size_t at = 0; at < sizeof(data); at += KIB)
                hasher_leave(h, data + at, KIB);
        assert_hash(h, data, sizeof(data)); /* hasher_end() settles */
}

/* As layer-feed does: a ring of buffers, of which each is filled anew once it was let go. */
static void *stream(void *arg) {
        uint32_t seed = *(uint32_t *) arg;
        static _Thread_local uint8_t buffers[BUFFERS][BUFFER_MAX];
        struct hasher *h = hasher_new();
        EVP_MD_CTX *c = openssl_new();

        for (uint32_t i = 0; i < ROUNDS; i++) {
                uint8_t *buffer = buffers[i % BUFFERS];
                size_t len = BUFFER_MAX >> (seed + i) % 7;

                if (i == ROUNDS - 1) /* no whole block */
                        len -= seed;
                fill(buffer, len, seed * ROUNDS + i);
                assert(EVP_DigestUpdate(c, buffer, len) == 1);
                if ((seed + i) % 3 > 0)
                        hasher_leave(h, buffer, len);
                else
                        hasher_update(h, buffer, len);
                hasher_settle(h, HELD);
        }
        assert_same(h, c);
        return NULL;
}

static void test_threads(void) {
        pthread_t threads[THREADS];
        uint32_t seeds[THREADS];

        for (uint32_t i = 0; i < THREADS; i++) {
                seeds[i] = i;
                assert(thread_start(0, stream, &seeds[i], &threads[i]) == 0);
        }
        for (size_t i = 0; i < THREADS; i++)
                assert(pthread_join(threads[i], NULL) == 0);
}

int main(void) {
        test_each_length_in_two_pieces();
        test_taken_along();
        test_pieces_in_order();
        test_threads();
        return 0;
}
