/* SPDX-License-Identifier: Apache-2.0 */
/* id-map - user and group ids of a user namespace: which of them stand for which of the host's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
