/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <assert.h>
#include <stdint.h>
#include <sys/random.h>
#include "base/alloc.h"
#include "base/str.h"

/* Open addressing with linear probing and backward-shift deletion; keys from outside, so the hash is seeded. */
struct slot {
        char *key;
        void *value;
        uint64_t hash;
};

struct map {
        struct slot *slots;
        size_t size, cap;
        uint64_t seed;
};

static uint64_t hash_of(const struct map *m, const char *key) {
        uint64_t h = m->seed ^ 0xcbf29ce484222325u;

        for (; *key; key++)
                h = (h ^ (unsigned char) *key) * 0x100000001b3u;
        h ^= h >> 32;
        h *= 0xd6e8feb86659fd93u;
        return h ^ h >> 32;
}

struct map *map_new(void) {
        struct map *m = xnew(struct map);
        if (getrandom(&m->seed, sizeof(m->seed), GRND_NONBLOCK) != (ssize_t) sizeof(m->seed))
                m->seed = clock_monotonic_ns();
        return m;
}

struct map *map_free(struct map *m) {
        if (!m)
                return NULL;
        for (size_t i = 0; i < m->cap; i++)
                free(m->slots[i].key);
        free(m->slots);
        free(m);
        return NULL;
}

static struct slot *probe(const struct map *m, const char *key, uint64_t hash) {
        size_t i = hash & (m->cap - 1);

        while (m->slots[i].key && (m->slots[i].hash != hash || strcmp(m->slots[i].key, key) != 0))
                i = (i + 1) & (m->cap - 1);
        return m->slots + i;
}

static void grow(struct map *m) {
        struct slot *old = m->slots;
        size_t old_cap = m->cap;

        m->cap = old_cap ? old_cap * 2 : 16;
        m->slots = xcalloc(m->cap, sizeof(*m->slots));
        for (size_t i = 0; i < old_cap; i++)
                if (old[i].key)
                        *probe(m, old[i].key, old[i].hash) = old[i];
        free(old);
}

void *map_get(const struct map *m, const char *key) {
        return m->cap ? probe(m, key, hash_of(m, key))->value : NULL;
}

void *map_set(struct map *m, const char *key, void *value) {
        uint64_t hash = hash_of(m, key);
        struct slot *s;
        void *old;

        assert(value);
        if ((m->size + 1) * 4 > m->cap * 3)
                grow(m);
        s = probe(m, key, hash);
        old = s->value;
        if (!s->key) {
                s->key = xstrdup(key);
                s->hash = hash;
                m->size++;
        }
        s->value = value;
        return old;
}

void *map_take(struct map *m, const char *key) {
        struct slot *s;
        size_t i, j, home;
        void *value;

        if (!m->cap || !(s = probe(m, key, hash_of(m, key)))->key)
                return NULL;
        value = s->value;
        free(s->key);
        m->size--;
        i = j = (size_t) (s - m->slots);
        for (;;) {
                m->slots[i] = (struct slot){ 0 };
                do {
                        j = (j + 1) & (m->cap - 1);
                        if (!m->slots[j].key)
                                return value;
                        home = m->slots[j].hash & (m->cap - 1);
                } while (i <= j ? i < home && home <= j : i < home || home <= j);
                m->slots[i] = m->slots[j];
                i = j;
        }
}

size_t map_size(const struct map *m) {
        return m->size;
}

bool map_next(const struct map *m, size_t *it, const char **ret_key, void **ret_value) {
        for (; *it < m->cap; (*it)++)
                if (m->slots[*it].key) {
                        if (ret_key)
                                *ret_key = m->slots[*it].key;
                        if (ret_value)
                                *ret_value = m->slots[*it].value;
                        (*it)++;
                        return true;
                }
        return false;
}
