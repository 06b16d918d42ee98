/* SPDX-License-Identifier: Apache-2.0 */
/* mounts - what a container finds mounted: the runtime's own (proc, dev, sys ...), the pod's files, CRI's. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "pod/specgen.h"
#include "security/selinux.h"

#define SECURE (MS_NOSUID | MS_NOEXEC | MS_NODEV)

struct list {
        struct spec_mount *items;
        size_t n;
};

static struct spec_mount *add(struct list *l, const char *destination, const char *type, const char *source,
                              unsigned long flags, const char *data) {
        struct spec_mount *m = &l->items[l->n++];

        *m = (struct spec_mount){ .destination = destination,
                                  .type = type,
                                  .source = source,
                                  .flags = flags,
                                  .data = data,
                                  .source_fd = -1 };
        return m;
}

static void add_bind(struct list *l, const char *destination, const char *source, unsigned long flags) {
        if (source)
                add(l, destination, "bind", source, flags, "")->recursive = true;
}

enum { MAX_OWN = 12, MAX_MAPS = 340, TTY_GROUP = 5 };

static bool has_tty_group(const struct id_maps *ids) {
        uint32_t gid;

        return !ids || id_map_find(ids->gids, ids->n_gids, TTY_GROUP, &gid);
}

static void add_own(struct list *l, const CRI(ContainerConfig) * config, const struct pod_sources *sources,
                    bool readonly_rootfs) {
        unsigned long sys = container_is_privileged(config) ? 0 : MS_RDONLY, file = readonly_rootfs ? MS_RDONLY : 0;

        add(l, "/proc", "proc", "proc", SECURE, "");
        add(l, "/dev", "tmpfs", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
        add(l, "/dev/pts", "devpts", "devpts", MS_NOSUID | MS_NOEXEC,
            has_tty_group(sources->user_ids) ? "newinstance,ptmxmode=0666,mode=0620,gid=5"
                                             : "newinstance,ptmxmode=0666,mode=0620");
        add_bind(l, "/dev/shm", sources->shm, SECURE);
        add(l, "/dev/mqueue", "mqueue", "mqueue", SECURE, "");
        add(l, "/sys", "sysfs", "sysfs", SECURE | sys, "");
        add(l, "/sys/fs/cgroup", "cgroup", "cgroup", SECURE | MS_RELATIME | sys, "");
        add_bind(l, "/etc/hostname", sources->hostname, file);
        add_bind(l, "/etc/hosts", sources->hosts, file);
        add_bind(l, "/etc/resolv.conf", sources->resolv_conf, file);
}

/* --- CRI's -------------------------------------------------------------------------------------------------------- */

static int check_source(const CRI(Mount) * m, struct err *err) {
        struct stat st;

        if (m->n_mount_options > 0)
                return err_set(err, ERR_UNIMPLEMENTED, "mount options are not supported yet (%.128s)",
                               m->container_path);
        if (mount_is_image(m))
                return 0;
        if (*m->host_path != '/')
                return err_set(err, ERR_INVALID, "host_path \"%.128s\" of the mount at %.128s is not absolute",
                               m->host_path, m->container_path);
        if (stat(m->host_path, &st) < 0)
                return err_set(err, ERR_INVALID, "host_path %.400s of the mount at %.128s: %s", m->host_path,
                               m->container_path, strerror(errno));
        return 0;
}

static int take_propagation(const CRI(Mount) * m, const struct id_maps *user_ids, struct spec_mount *to,
                            unsigned long *root, struct err *err) {
        unsigned peers;
        int r;

        switch (m->propagation) {
        case CRI_(MOUNT_PROPAGATION__PROPAGATION_PRIVATE):
                return 0;
        case CRI_(MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER):
                to->propagation = MS_SLAVE;
                if (*root != MS_SHARED)
                        *root = MS_SLAVE;
                break;
        case CRI_(MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL):
                /* Its root may mount what it likes there: the kernel would let all of it through to the host. */
                if (user_ids)
                        return err_set(err, ERR_INVALID,
                                       "the mount at %.128s is bidirectional, which a pod with a user namespace of its "
                                       "own can't have",
                                       m->container_path);
                to->propagation = *root = MS_SHARED;
                break;
        default:
                return err_set(err, ERR_INVALID, "the mount at %.128s has an unknown propagation", m->container_path);
        }
        r = mount_peers(m->host_path, &peers, err);
        if (r < 0)
                return r;
        if (!(peers & PEERS_SHARED) && (to->propagation == MS_SHARED || !(peers & PEERS_SLAVE)))
                return err_set(err, ERR_INVALID,
                               "host_path %.400s is not on a %s mount, as the propagation asked for needs",
                               m->host_path, to->propagation == MS_SHARED ? "shared" : "shared or slave");
        return 0;
}

static int take_readonly(const CRI(Mount) * m, struct spec_mount *to, struct err *err) {
        to->flags = m->readonly ? MS_RDONLY : 0;
        if (!m->recursive_read_only)
                return 0;
        if (!m->readonly)
                return err_set(err, ERR_INVALID, "the mount at %.128s is recursive_read_only without readonly",
                               m->container_path);
        if (m->propagation != CRI_(MOUNT_PROPAGATION__PROPAGATION_PRIVATE))
                return err_set(err, ERR_INVALID,
                               "the mount at %.128s is recursive_read_only, which needs private propagation",
                               m->container_path);
        if (!pods_can_recursive_readonly())
                return err_set(err, ERR_UNIMPLEMENTED, "RROUnsupported: recursive read-only mounts need Linux 5.12");
        to->recursive_readonly = true;
        return 0;
}

static const struct id_map *take_maps(CRI(IDMapping) *const *from, size_t n, struct arena *arena) {
        struct id_map *maps = arena_array(arena, struct id_map, n);

        for (size_t i = 0; i < n; i++)
                maps[i] = (struct id_map){ from[i]->container_id, from[i]->host_id, from[i]->length };
        return maps;
}

/* Owners of files are mapped as the container's ids are, as kubelet asks for each mount. What the layers of an image
 * are mapped by is the pod's user namespace, in any case. */
static int take_owners(const CRI(Mount) * m, const struct pod_sources *sources, struct spec_mount *to,
                       struct arena *arena, struct err *err) {
        static const struct id_maps none;
        struct id_maps *maps;

        if (m->n_uidmappings == 0 && m->n_gidmappings == 0) {
                if (sources->map_volumes && !mount_is_image(m))
                        to->owners = sources->user_ids;
                return 0;
        }
        if (m->n_uidmappings == 0 || m->n_gidmappings == 0 || m->n_uidmappings > MAX_MAPS ||
            m->n_gidmappings > MAX_MAPS)
                return err_set(err, ERR_INVALID,
                               "the mount at %.128s must have mappings of uids and gids or none, at most %d",
                               m->container_path, MAX_MAPS);
        maps = arena_new_of(arena, struct id_maps);
        *maps = (struct id_maps){ take_maps(m->uidmappings, m->n_uidmappings, arena),
                                  take_maps(m->gidmappings, m->n_gidmappings, arena), m->n_uidmappings,
                                  m->n_gidmappings };
        if (!mount_is_image(m)) {
                to->owners = maps;
                return 0;
        }
        if (!id_maps_equal(maps, sources->user_ids ? sources->user_ids : &none))
                return err_set(err, ERR_INVALID,
                               "the mount of an image at %.128s can only be mapped as its pod's user namespace is",
                               m->container_path);
        return 0;
}

static int add_cri(struct list *l, const CRI(Mount) * m, const struct pod_sources *sources, struct arena *arena,
                   unsigned long *root, struct err *err) {
        const char *destination = path_clean(arena, m->container_path);
        struct spec_mount *to;
        int r;

        if (!destination || str_eq(destination, "/") || strlen(destination) >= PATH_MAX)
                return err_set(err, ERR_INVALID, "a mount's container_path \"%.128s\" is not an absolute path below /",
                               m->container_path);
        r = check_source(m, err);
        if (r < 0)
                return r;
        to = add(l, destination, "bind", m->host_path, 0, "");
        to->recursive = true;
        r = take_readonly(m, to, err);
        if (r == 0)
                r = take_owners(m, sources, to, arena, err);
        if (r == 0 && m->selinux_relabel && sources->label && !mount_is_image(m))
                r = selinux_relabel(m->host_path, sources->label, err);
        if (r < 0)
                return r;
        return mount_is_image(m) ? image_volume_open(sources->container, m, &to->source_fd, err)
                                 : take_propagation(m, sources->user_ids, to, root, err);
}

/* A mount of CRI's replaces ours at the same place; of two of CRI's the later one wins, as it would if both were made.
 */
static void drop_replaced(struct list *l, size_t n_own) {
        size_t n = 0;

        for (size_t i = 0; i < l->n; i++) {
                bool replaced = false;
                for (size_t k = n_own; i < n_own && k < l->n && !replaced; k++)
                        replaced = str_eq(l->items[i].destination, l->items[k].destination);
                if (!replaced)
                        l->items[n++] = l->items[i];
        }
        l->n = n;
}

static size_t depth(const char *path) {
        size_t n = 0;

        for (; *path; path++)
                n += *path == '/';
        return n;
}

struct sortable {
        struct spec_mount m;
        size_t depth, place;
};

static int compare(const void *a, const void *b) {
        const struct sortable *x = a, *y = b;

        if (x->depth != y->depth)
                return x->depth < y->depth ? -1 : 1;
        return x->place < y->place ? -1 : x->place > y->place;
}

/* Parents before what lies below them, else in order: /data/x given before /data would be hidden by it. */
static void sort(struct list *l, struct arena *arena) {
        struct sortable *s = arena_array(arena, struct sortable, l->n + 1);

        for (size_t i = 0; i < l->n; i++)
                s[i] = (struct sortable){ l->items[i], depth(l->items[i].destination), i };
        qsort(s, l->n, sizeof(*s), compare);
        for (size_t i = 0; i < l->n; i++)
                l->items[i] = s[i].m;
}

int mounts_build(const CRI(ContainerConfig) * config, const struct pod_sources *sources, struct arena *arena,
                 struct spec *spec, struct err *err) {
        struct list l = { .items =
                                  arena_array(arena, struct spec_mount, MAX_OWN + config->n_mounts + sources->n_more) };
        size_t n_own;
        int r = 0;

        add_own(&l, config, sources, spec->readonly_rootfs);
        n_own = l.n;
        for (size_t i = 0; i < config->n_mounts; i++) {
                r = add_cri(&l, config->mounts[i], sources, arena, &spec->rootfs_propagation, err);
                if (r < 0)
                        break;
        }
        for (size_t i = 0; i < sources->n_more; i++)
                l.items[l.n++] = sources->more[i];
        drop_replaced(&l, n_own);
        sort(&l, arena);
        spec->mounts = l.items; /* also on failure: they may hold descriptors */
        spec->n_mounts = l.n;
        return r;
}
