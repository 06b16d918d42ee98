/* SPDX-License-Identifier: Apache-2.0 */
/* items - the containers that the lxc engine knows, counted by reference: an operation that waits holds its container
 * while another removes it. Thread-safe. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include "base/attr.h"
#include "base/map.h"
#include "keeper/protocol.h"

/* Lives until remove; its fields but "ended" are set before others can find it. */
struct item {
        char id[KEEPER_ID_MAX];
        char *cgroup_path, *log_path;
        int init_fd;  /* pidfd, -1: gone or never known */
        int dirfd;    /* <state>/containers/<id> */
        int ended_fd; /* eventfd: readable for good once it has ended */
        int refs;     /* the table's and each operation's that waits */
};

struct items {
        pthread_mutex_t lock; /* the map, all refs */
        struct map *map;
};

/* With one reference, the caller's. @log_path may be NULL. */
struct item *item_new(const char *id, const char *cgroup_path, const char *log_path);
bool item_has_ended(const struct item *i);
void item_set_ended(struct item *i);
/* False: it has not ended in @timeout_ms (-1: for ever), or @cancel_fd (-1: none) became readable. */
bool item_wait_ended(const struct item *i, int timeout_ms, int cancel_fd);

void items_init(struct items *t);
void items_done(struct items *t);
/* The table gets a reference of its own. */
void items_add(struct items *t, struct item *i);
/* A reference, or NULL. */
_must_use_ struct item *items_get(struct items *t, const char *id);
/* All of them, a reference each. The caller frees the array. */
_must_use_ struct item **items_get_all(struct items *t, size_t *ret_n);
/* The table's reference is gone; the caller still has its own. Another of the same name stays. */
void items_remove(struct items *t, struct item *i);
void items_unref(struct items *t, struct item *i);

struct held {
        struct items *items;
        struct item *item; /* NULL: not known */
};

static inline void held_done(struct held *h) {
        items_unref(h->items, h->item);
}

/* Until the end of the block. */
#define HOLD(name, t, id) _cleanup_(held_done) struct held name = { (t), items_get((t), (id)) }
