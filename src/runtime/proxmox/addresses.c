/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/proxmox/addresses.h"

#include <pthread.h>
#include <stdio.h>
#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"

/* Of one network, the first and the last address are no host's, and one is the gateway. */
enum { NEVER_FREE = 3 };

struct holder {
        char id[ADDRESSES_ID_MAX];
        struct ip address;
};

struct addresses {
        pthread_mutex_t lock;
        struct map *holders; /* by address */
        uint32_t next[2];    /* place in the range to look at first, of IPv4 and IPv6 */
};

struct addresses *addresses_new(void) {
        struct addresses *a = xnew(struct addresses);

        pthread_mutex_init(&a->lock, NULL);
        a->holders = map_new();
        a->next[0] = arc4random();
        a->next[1] = arc4random();
        return a;
}

struct addresses *addresses_free(struct addresses *a) {
        struct holder *h;

        if (!a)
                return NULL;
        for (size_t it = 0; map_next(a->holders, &it, NULL, (void **) &h);)
                free(h);
        map_free(a->holders);
        pthread_mutex_destroy(&a->lock);
        free(a);
        return NULL;
}

static struct holder *holder_of(const struct addresses *a, const struct ip *address) {
        char text[IP_TEXT_MAX];

        return map_get(a->holders, ip_write(address, text));
}

static void set(struct addresses *a, const struct ip *address, const char *id) {
        struct holder *h = xnew(struct holder);
        char text[IP_TEXT_MAX];

        (void) snprintf(h->id, sizeof(h->id), "%s", id);
        h->address = *address;
        free(map_set(a->holders, ip_write(address, text), h));
}

bool addresses_hold(struct addresses *a, const struct ip *address, const char *id, char ret_other[ADDRESSES_ID_MAX]) {
        const struct holder *h;
        bool ours;

        pthread_mutex_lock(&a->lock);
        h = holder_of(a, address);
        ours = !h || str_eq(h->id, id);
        if (!h)
                set(a, address, id);
        else if (!ours && ret_other)
                memcpy(ret_other, h->id, sizeof(h->id));
        pthread_mutex_unlock(&a->lock);
        return ours;
}

bool addresses_has(struct addresses *a, const struct ip *address, const char *id) {
        const struct holder *h;
        bool has;

        pthread_mutex_lock(&a->lock);
        h = holder_of(a, address);
        has = h && str_eq(h->id, id);
        pthread_mutex_unlock(&a->lock);
        return has;
}

bool addresses_take(struct addresses *a, const struct ip_range *range, const struct ip *gateway, const char *id,
                    struct ip *ret) {
        uint32_t size = ip_range_size(range), *next = &a->next[range->first.family == 6];
        bool found = false;
        uint64_t tries;

        pthread_mutex_lock(&a->lock);
        tries = MIN_OF((uint64_t) size, (uint64_t) map_size(a->holders) + NEVER_FREE + 1);
        for (uint64_t i = 0; i < tries && !found; i++) {
                struct ip address = ip_add(&range->first, *next % size);

                *next = *next % size + 1;
                found = ip_is_host(&address) && !ip_equal(&address, gateway) && !holder_of(a, &address);
                if (found) {
                        set(a, &address, id);
                        *ret = address;
                }
        }
        pthread_mutex_unlock(&a->lock);
        return found;
}

void addresses_give_back(struct addresses *a, const char *id) {
        char text[IP_TEXT_MAX];
        struct holder *h;

        pthread_mutex_lock(&a->lock);
        /* The map is not to change while it is walked. */
        for (bool more = true; more;) {
                more = false;
                for (size_t it = 0; !more && map_next(a->holders, &it, NULL, (void **) &h);)
                        more = str_eq(h->id, id);
                if (more)
                        free(map_take(a->holders, ip_write(&h->address, text)));
        }
        pthread_mutex_unlock(&a->lock);
}
