/* SPDX-License-Identifier: Apache-2.0 */
/* config-owners - whose ids the files of a bind have: uidMappings and gidMappings of a mount, or its options "idmap"
 * and "ridmap", which crun lets have maps of their own: "idmap=uids=0-1000-10#10-2000-5;gids=@0-0-10". Each is the
 * first id in the files, the first on the host, and how many; behind an @ the host's is one of the container's. */
#include <stdlib.h>
#include "base/str.h"
#include "oci/config-parts.h"

enum { MAX_RANGES = 340 };

/* "A-B-C" into three numbers. */
static bool read_range(char *text, struct id_map *ret) {
        uint32_t *fields[] = { &ret->inside, &ret->outside, &ret->length };
        uint64_t value;

        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                const char *part = strsep(&text, "-");

                if (!part || !str_to_u64(part, &value) || value > UINT32_MAX)
                        return false;
                *fields[i] = (uint32_t) value;
        }
        return !text && ret->length && (uint64_t) ret->inside + ret->length <= UINT32_MAX &&
               (uint64_t) ret->outside + ret->length <= UINT32_MAX;
}

/* The whole range has to be in one of the container's. */
static bool make_relative(struct id_map *m, const struct id_map *users, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (m->outside >= users[i].inside &&
                    (uint64_t) m->outside + m->length <= (uint64_t) users[i].inside + users[i].length) {
                        m->outside = users[i].outside + (m->outside - users[i].inside);
                        return true;
                }
        return false;
}

/* "A-B-C#...": false when it is none. */
static bool read_ranges(const struct config_node *mount, char *text, const struct id_map *users, size_t n_users,
                        const struct id_map **ret, size_t *ret_n) {
        bool relative = *text == '@';
        struct id_map *maps = config_array_of(mount, struct id_map, MAX_RANGES);
        char *range;
        size_t n = 0;

        text += relative;
        while (maps && (range = strsep(&text, "#")))
                if (n == MAX_RANGES || !read_range(range, &maps[n]) ||
                    (relative && !make_relative(&maps[n], users, n_users)))
                        return false;
                else
                        n++;
        *ret = maps;
        *ret_n = n;
        return n > 0;
}

bool config_read_owners(const struct config_node *mount, const char *option, const struct id_maps *users,
                        struct id_maps *ret) {
        char *text = config_alloc(mount, strlen(option) + 1, 1), *part;
        bool ok = true;

        if (!text)
                return true;
        memcpy(text, option, strlen(option) + 1);
        while (ok && (part = strsep(&text, ";"))) {
                if (str_after(part, "uids=") && !ret->n_uids)
                        ok = read_ranges(mount, part + 5, users->uids, users->n_uids, &ret->uids, &ret->n_uids);
                else if (str_after(part, "gids=") && !ret->n_gids)
                        ok = read_ranges(mount, part + 5, users->gids, users->n_gids, &ret->gids, &ret->n_gids);
                else
                        ok = false;
        }
        return ok && ret->n_uids && ret->n_gids;
}
