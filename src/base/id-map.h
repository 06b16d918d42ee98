/* SPDX-License-Identifier: Apache-2.0 */
/* id-map - user and group ids of a user namespace: which of them stand for which of the host's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Ids [inside, inside + length) of the namespace are [outside, outside + length) of the host. */
struct id_map {
        uint32_t inside, outside, length;
};

struct id_maps {
        const struct id_map *uids, *gids; /* borrowed */
        size_t n_uids, n_gids;
};

/* The host's id for @inside; false when it has none. */
static inline bool id_map_find(const struct id_map *maps, size_t n, uint32_t inside, uint32_t *ret) {
        for (size_t i = 0; i < n; i++)
                if (inside >= maps[i].inside && inside - maps[i].inside < maps[i].length) {
                        *ret = maps[i].outside + (inside - maps[i].inside);
                        return true;
                }
        return false;
}

/* Who is root in there on the host; false, and 0 and 0, when nobody is, or without a user namespace (NULL or empty). */
static inline bool id_maps_root(const struct id_maps *m, uint32_t *ret_uid, uint32_t *ret_gid) {
        if (m && id_map_find(m->uids, m->n_uids, 0, ret_uid) && id_map_find(m->gids, m->n_gids, 0, ret_gid))
                return true;
        *ret_uid = *ret_gid = 0;
        return false;
}

static inline bool id_maps_equal(const struct id_maps *a, const struct id_maps *b) {
        size_t uids = a->n_uids * sizeof(struct id_map), gids = a->n_gids * sizeof(struct id_map);

        return a->n_uids == b->n_uids && a->n_gids == b->n_gids && (uids == 0 || memcmp(a->uids, b->uids, uids) == 0) &&
               (gids == 0 || memcmp(a->gids, b->gids, gids) == 0);
}
