/* SPDX-License-Identifier: Apache-2.0 */
/* config-linux - "linux" of config.json: ids, paths, the kernel's personality, clocks, memory, links. */
#include <limits.h>
#include <linux/mempolicy.h>
#include <net/if.h>
#include <sys/personality.h>
#include "base/str.h"
#include "oci/config-parts.h"
#include "runtime/spec/mount-options.h"

enum { MAX_NODE = 1023 };

static void read_propagation(const struct config_node *lin, struct spec *spec) {
        const char *word = config_text(lin, "rootfsPropagation");

        if (!word)
                return;
        spec->rootfs_propagation = mount_option_propagation(word);
        if (!spec->rootfs_propagation)
                config_fail(lin, "rootfsPropagation", "unknown value \"%.64s\"", word);
}

static const char *const *read_paths(const struct config_node *lin, const char *key) {
        struct config_node list = config_member(lin, key);
        const char *const *paths = config_strings(lin, key, CONFIG_MAX_STRINGS);

        for (size_t i = 0; paths[i]; i++) {
                struct config_node item = config_item(&list, i);

                if (*paths[i] != '/')
                        config_fail(&item, NULL, "\"%.64s\" is not absolute", paths[i]);
                else if (strlen(paths[i]) >= PATH_MAX)
                        config_fail(&item, NULL, "is too long");
        }
        return paths;
}

static void read_personality(const struct config_node *lin, struct spec *spec) {
        static const struct spec_name domains[] = { { "LINUX", PER_LINUX }, { "LINUX32", PER_LINUX32 } };
        struct config_node n = config_object(lin, "personality"), flags = config_array(&n, "flags", 64);

        config_need(&n, "domain");
        spec->has_personality = config_has(&n);
        spec->personality = config_enum(&n, "domain", domains, ELEMENTSOF(domains), NULL);
        if (config_count(&flags)) {
                struct config_node first = config_item(&flags, 0);

                config_fail(&first, NULL, "there are no flags of a personality");
        }
}

static void read_offset(const struct config_node *offsets, const char *clock, struct spec_time_offset *ret) {
        struct config_node n = config_object(offsets, clock);

        ret->has = config_has(&n);
        ret->seconds = config_i64(&n, "secs", INT64_MIN, INT64_MAX, NULL);
        ret->nanoseconds = (uint32_t) config_u64(&n, "nanosecs", 999999999, NULL);
}

static void read_offsets(const struct config_node *lin, struct spec *spec) {
        struct config_node n = config_object(lin, "timeOffsets");

        read_offset(&n, "monotonic", &spec->monotonic);
        read_offset(&n, "boottime", &spec->boottime);
        if ((spec->monotonic.has || spec->boottime.has) && !spec->ns[SPEC_NS_TIME].create)
                config_fail(&n, NULL, "only a new time namespace can have them");
}

const struct spec_name config_memory_modes[] = {
        { "MPOL_DEFAULT", 0 },
        { "MPOL_PREFERRED", 1 },
        { "MPOL_BIND", 2 },
        { "MPOL_INTERLEAVE", 3 },
        { "MPOL_LOCAL", 4 },
        { "MPOL_PREFERRED_MANY", 5 },
        { "MPOL_WEIGHTED_INTERLEAVE", 6 },
};
const size_t n_config_memory_modes = ELEMENTSOF(config_memory_modes);
const struct spec_name config_memory_flags[] = {
        { "MPOL_F_NUMA_BALANCING", 1 << 13 },
        { "MPOL_F_RELATIVE_NODES", 1 << 14 },
        { "MPOL_F_STATIC_NODES", 1 << 15 },
};
const size_t n_config_memory_flags = ELEMENTSOF(config_memory_flags);

/* What set_mempolicy(2) refuses with no more than EINVAL. */
static void check_memory_policy(const struct config_node *n, const struct spec_memory_policy *p) {
        bool no_nodes = p->mode == MPOL_DEFAULT || p->mode == MPOL_LOCAL;

        if (no_nodes && *p->nodes)
                config_fail(n, "nodes", "must be empty for this mode");
        if (!no_nodes && p->mode != MPOL_PREFERRED && !*p->nodes)
                config_fail(n, "nodes", "is missing");
        if ((p->flags & (1 << 14)) && (p->flags & (1 << 15)))
                config_fail(n, "flags", "MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other");
        if (p->flags && no_nodes)
                config_fail(n, "flags", "must be empty for this mode");
}

static void read_memory_policy(const struct config_node *lin, struct spec *spec) {
        struct config_node n = config_object(lin, "memoryPolicy");
        struct spec_memory_policy *p = config_has(&n) ? config_array_of(&n, struct spec_memory_policy, 1) : NULL;

        config_need(&n, "mode");
        if (!p)
                return;
        p->mode = (int) config_enum(&n, "mode", config_memory_modes, n_config_memory_modes, NULL);
        p->flags = (unsigned) config_flags(&n, "flags", config_memory_flags, n_config_memory_flags);
        p->nodes = config_list(&n, "nodes", MAX_NODE) ?: "";
        check_memory_policy(&n, p);
        spec->memory_policy = p;
}

/* As the kernel's dev_valid_name(). */
static bool is_link_name(const char *s) {
        return *s && strlen(s) < IFNAMSIZ && !str_eq(s, ".") && !str_eq(s, "..") && !strpbrk(s, "/: \t\n\v\f\r");
}

static void read_net_device(const struct config_node *n, struct spec_pair *all, size_t i) {
        const char *name = config_text(n, "name");

        all[i].key = config_printf(n, "%s", n->key);
        all[i].value = name ?: all[i].key;
        if (!is_link_name(all[i].key))
                config_fail(n, NULL, "is not the name of a network interface");
        if (!is_link_name(all[i].value))
                config_fail(n, "name", "\"%.64s\" is not the name of a network interface", all[i].value);
        for (size_t j = 0; j < i; j++)
                if (str_eq(all[j].value, all[i].value) && !str_ends_with(all[i].value, "%d"))
                        config_fail(n, "name", "\"%s\" is there twice", all[i].value);
}

static void read_net_devices(const struct config_node *lin, struct spec *spec) {
        struct config_node map = config_object(lin, "netDevices");
        size_t n = config_count(&map), i = 0;
        struct spec_pair *pairs = n <= CONFIG_MAX_PAIRS ? config_array_of(&map, struct spec_pair, n) : NULL;

        if (n > CONFIG_MAX_PAIRS)
                config_fail(&map, NULL, "has more than %d entries", CONFIG_MAX_PAIRS);
        if (n && !spec->ns[SPEC_NS_NET].create && !spec->ns[SPEC_NS_NET].path)
                config_fail(&map, NULL, "unable to move network devices without a private NET namespace");
        for (struct config_node v = config_first(&map); pairs && config_has(&v); v = config_next(&v)) {
                if (!json_is_object(v.json))
                        config_fail(&v, NULL, "must be an object");
                read_net_device(&v, pairs, i++);
        }
        spec->net_devices = pairs;
        spec->n_net_devices = i;
}

static void read_ids(const struct config_node *lin, struct spec *spec) {
        struct spec_namespace *user = &spec->ns[SPEC_NS_USER];
        struct id_maps *ids = &spec->user_ids;

        ids->uids = config_id_map(lin, "uidMappings", &ids->n_uids);
        ids->gids = config_id_map(lin, "gidMappings", &ids->n_gids);
        if ((ids->n_uids || ids->n_gids) && !user->create && !user->path)
                config_fail(lin, ids->n_uids ? "uidMappings" : "gidMappings",
                            "User namespace mappings specified, but USER namespace isn't enabled in the config");
        if (user->create && !ids->n_uids)
                config_fail(lin, "uidMappings", "a new user namespace needs them");
        if (user->create && !ids->n_gids)
                config_fail(lin, "gidMappings", "a new user namespace needs them");
}

void config_read_linux(const struct config_node *lin, struct spec *spec) {
        read_ids(lin, spec);
        read_propagation(lin, spec);
        spec->masked_paths = read_paths(lin, "maskedPaths");
        spec->readonly_paths = read_paths(lin, "readonlyPaths");
        spec->mount_label = config_text(lin, "mountLabel");
        read_personality(lin, spec);
        read_offsets(lin, spec);
        read_memory_policy(lin, spec);
        read_net_devices(lin, spec);
}
