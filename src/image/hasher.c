/* SPDX-License-Identifier: Apache-2.0 */
#include "image/hasher.h"

#include <assert.h>
#include <endian.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "image/sha256.h"

enum { LEFT_MAX = 4, ALONE_BLOCKS = 512 /* before it is looked for another again */ };

struct piece {
        const uint8_t *data;
        size_t n; /* blocks */
};

struct hasher {
        EVP_MD_CTX *openssl; /* NULL: the rest is used */
        struct sha256 state;
        uint64_t bytes;
        uint8_t part[SHA256_BLOCK]; /* of a block, bytes % SHA256_BLOCK */

        /* What is left, under the line's lock. */
        struct piece pieces[LEFT_MAX];
        size_t first, left;  /* pieces: left, from first on */
        bool is_at_work;     /* a thread, on the first of them */
        bool is_standing;    /* in the line */
        struct hasher *next; /* there */
        pthread_cond_t idle;
};

/* Those that have left something and are at work with nobody, the longest there first. */
static struct {
        pthread_mutex_t lock;
        struct hasher *first;
} line = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct hasher *hasher_new(void) {
        struct hasher *h = xnew(struct hasher);

        if (sha256_is_there()) {
                sha256_begin(&h->state);
                (void) pthread_cond_init(&h->idle, NULL);
                return h;
        }
        h->openssl = EVP_MD_CTX_new();
        if (!h->openssl || EVP_DigestInit_ex(h->openssl, EVP_sha256(), NULL) != 1)
                abort();
        return h;
}

struct hasher *hasher_free(struct hasher *h) {
        if (!h)
                return NULL;
        assert(h->left == 0);
        if (!h->openssl)
                (void) pthread_cond_destroy(&h->idle);
        EVP_MD_CTX_free(h->openssl);
        free(h);
        return NULL;
}

/* The line. Each is called with its lock. */

static void stand(struct hasher *h) {
        struct hasher **at = &line.first;

        if (h->left == 0 || h->is_standing)
                return;
        while (*at)
                at = &(*at)->next;
        *at = h;
        h->next = NULL;
        h->is_standing = true;
}

static void step_out(struct hasher *h) {
        struct hasher **at = &line.first;

        if (!h->is_standing)
                return;
        while (*at != h)
                at = &(*at)->next;
        *at = h->next;
        h->is_standing = false;
}

static struct hasher *take_first(void) {
        struct hasher *h = line.first;

        if (h) {
                step_out(h);
                h->is_at_work = true;
        }
        return h;
}

/* @n blocks of its first piece are hashed. */
static void give_back(struct hasher *h, size_t n) {
        struct piece *p = &h->pieces[h->first];

        p->data += n * SHA256_BLOCK;
        p->n -= n;
        if (p->n == 0) {
                h->first = (h->first + 1) % LEFT_MAX;
                h->left--;
        }
        h->is_at_work = false;
        stand(h);
        (void) pthread_cond_signal(&h->idle);
}

/* Whole blocks, and beside them what others have left. */
static void work(struct hasher *h, const uint8_t *data, size_t n) {
        (void) pthread_mutex_lock(&line.lock);
        while (n > 0) {
                struct hasher *other = take_first();
                size_t done;

                (void) pthread_mutex_unlock(&line.lock);
                if (other) {
                        const struct piece *p = &other->pieces[other->first];

                        done = MIN_OF(n, p->n);
                        sha256_two(&h->state, data, &other->state, p->data, done);
                } else {
                        done = MIN_OF(n, (size_t) ALONE_BLOCKS);
                        sha256_one(&h->state, data, done);
                }
                data += done * SHA256_BLOCK;
                n -= done;
                (void) pthread_mutex_lock(&line.lock);
                if (other)
                        give_back(other, done);
        }
        (void) pthread_mutex_unlock(&line.lock);
}

static void update(struct hasher *h, const uint8_t *data, size_t len) {
        size_t have = h->bytes % SHA256_BLOCK, rest;

        h->bytes += len;
        if (have > 0) {
                size_t n = MIN_OF(SHA256_BLOCK - have, len);

                memcpy(h->part + have, data, n);
                if (have + n < SHA256_BLOCK)
                        return;
                sha256_one(&h->state, h->part, 1);
                data += n;
                len -= n;
        }
        rest = len % SHA256_BLOCK;
        work(h, data, len / SHA256_BLOCK);
        memcpy(h->part, data + len - rest, rest);
}

void hasher_update(struct hasher *h, const void *data, size_t len) {
        if (h->openssl) {
                if (EVP_DigestUpdate(h->openssl, data, len) != 1)
                        abort();
        } else if (len > 0) {
                hasher_settle(h, 0);
                update(h, data, len);
        }
}

void hasher_leave(struct hasher *h, const void *data, size_t len) {
        if (h->openssl || len == 0 || len % SHA256_BLOCK > 0 || h->bytes % SHA256_BLOCK > 0) {
                hasher_update(h, data, len);
                return;
        }
        hasher_settle(h, LEFT_MAX - 1);
        h->bytes += len;
        (void) pthread_mutex_lock(&line.lock);
        h->pieces[(h->first + h->left++) % LEFT_MAX] = (struct piece){ data, len / SHA256_BLOCK };
        if (!h->is_at_work)
                stand(h);
        (void) pthread_mutex_unlock(&line.lock);
}

void hasher_settle(struct hasher *h, size_t pieces) {
        if (h->openssl)
                return;
        (void) pthread_mutex_lock(&line.lock);
        while (h->left > pieces) {
                struct piece p;

                if (h->is_at_work) {
                        (void) pthread_cond_wait(&h->idle, &line.lock);
                        continue;
                }
                step_out(h);
                h->is_at_work = true;
                p = h->pieces[h->first];
                (void) pthread_mutex_unlock(&line.lock);
                work(h, p.data, p.n);
                (void) pthread_mutex_lock(&line.lock);
                give_back(h, p.n);
        }
        (void) pthread_mutex_unlock(&line.lock);
}

static void end(struct hasher *h, uint8_t ret[32]) {
        size_t have = h->bytes % SHA256_BLOCK, room = SHA256_BLOCK - sizeof(uint64_t);
        uint8_t last[2 * SHA256_BLOCK] = { 0 };
        uint64_t bits = htobe64(h->bytes * 8);
        size_t n = have < room ? 1 : 2;

        memcpy(last, h->part, have);
        last[have] = 0x80;
        memcpy(last + n * SHA256_BLOCK - sizeof(bits), &bits, sizeof(bits));
        sha256_one(&h->state, last, n);
        sha256_end(&h->state, ret);
}

void hasher_end(struct hasher *h, char ret[65]) {
        uint8_t md[32];

        hasher_settle(h, 0);
        if (!h->openssl)
                end(h, md);
        else if (EVP_DigestFinal_ex(h->openssl, md, NULL) != 1)
                abort();
        hex_encode(md, sizeof(md), ret);
}
