/* SPDX-License-Identifier: Apache-2.0 */
/* config-mounts - "mounts" of config.json. */
#include <limits.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include "base/str.h"
#include "base/strbuf.h"
#include "oci/config-parts.h"
#include "runtime/spec/mount-options.h"

enum { MAX_OPTIONS = 256, MAX_DATA = 4095 /* the kernel's page for it */ };

struct reading {
        const struct config_node *node; /* of the mount */
        struct spec_mount *mount;
        struct strbuf data;
        bool is_bind, has_owners;
        struct id_maps owners; /* of "idmap=..." */
        const struct spec *spec;
};

static void take_flag(struct spec_mount *m, const struct mount_option *o) {
        unsigned long flag = (unsigned long) o->value;

        if (o->clear) {
                m->flags &= ~flag;
                m->clear_flags |= flag;
        } else {
                m->flags |= flag;
                m->clear_flags &= ~flag;
        }
}

/* The times of access are a field, not flags: to change it, it has to be cleared. */
static void take_recursive(struct spec_mount *m, const struct mount_option *o) {
        bool is_atime = (o->value & ~(uint64_t) MOUNT_ATTR__ATIME) == 0;

        if (o->clear)
                m->recursive_set &= ~o->value;
        else
                m->recursive_set =
                        (is_atime ? m->recursive_set & ~(uint64_t) MOUNT_ATTR__ATIME : m->recursive_set) | o->value;
        if (is_atime)
                m->recursive_clear |= MOUNT_ATTR__ATIME;
        else if (o->clear)
                m->recursive_clear |= o->value;
        else
                m->recursive_clear &= ~o->value;
}

static void take_data(struct reading *r, const char *option) {
        if (r->data.len)
                strbuf_putc(&r->data, ',');
        strbuf_puts(&r->data, option);
}

/* "idmap=uids=...;gids=..." of crun. */
static bool take_custom_owners(struct reading *r, const char *name) {
        const char *recursive = str_after(name, "ridmap="), *maps = recursive ?: str_after(name, "idmap=");

        if (!maps)
                return false;
        r->has_owners = true;
        r->mount->owners_flat = !recursive;
        r->owners = (struct id_maps){ 0 };
        if (!config_read_owners(r->node, maps, &r->spec->user_ids, &r->owners))
                config_fail(r->node, "options", "\"%.100s\" is not like \"idmap=uids=0-1000-10;gids=0-1000-10\"", name);
        return true;
}

static void take_option(struct reading *r, const char *name) {
        const struct mount_option *o = mount_option_find(name);
        struct spec_mount *m = r->mount;

        if (!o && take_custom_owners(r, name))
                return;
        if (!o) {
                take_data(r, name);
                return;
        }
        switch (o->kind) {
        case MOUNT_OPTION_FLAG:
                take_flag(m, o);
                break;
        case MOUNT_OPTION_RECURSIVE:
                take_recursive(m, o);
                break;
        case MOUNT_OPTION_PROPAGATION:
                m->propagation = o->value & ~(unsigned long) MS_REC;
                m->propagation_flat = !(o->value & MS_REC);
                break;
        case MOUNT_OPTION_BIND:
                r->is_bind = true;
                m->recursive |= o->value == MS_REC;
                break;
        case MOUNT_OPTION_OWNERS:
                r->has_owners = true;
                m->owners_flat = !(o->value & MS_REC);
                break;
        case MOUNT_OPTION_TMPCOPYUP:
                m->tmpcopyup = true;
                break;
        case MOUNT_OPTION_COPY_SYMLINK:
                m->copy_symlink = true;
                break;
        }
}

static void take_options(struct reading *r) {
        const char *const *options = config_strings(r->node, "options", MAX_OPTIONS);

        for (; *options; options++)
                take_option(r, *options);
        if (r->data.overflow)
                config_fail(r->node, "options", "those for the file system are longer than %d bytes", MAX_DATA);
        r->mount->data = config_printf(r->node, "%s", strbuf_str(&r->data));
}

/* The mapping that the mount has of its own, else the container's. */
static void take_owners(struct reading *r) {
        struct id_maps *own = config_array_of(r->node, struct id_maps, 1);
        const struct id_maps *users = &r->spec->user_ids;

        if (!own)
                return;
        own->uids = config_id_map(r->node, "uidMappings", &own->n_uids);
        own->gids = config_id_map(r->node, "gidMappings", &own->n_gids);
        if (!own->n_uids != !own->n_gids)
                config_fail(r->node, NULL, "uidMappings and gidMappings go together");
        if (!own->n_uids && r->owners.n_uids) {
                *own = r->owners;
        } else if (!own->n_uids && r->has_owners) {
                if (!users->n_uids || !users->n_gids)
                        config_fail(r->node, "options",
                                    "idmap needs uidMappings and gidMappings, of the mount or of a "
                                    "user namespace");
                *own = *users;
        }
        if (!own->n_uids)
                return;
        if (!r->is_bind)
                config_fail(r->node, NULL, "owners can be mapped only of a bind");
        r->mount->owners = own;
        /* As runc: mappings without a word are for the mount alone. */
        r->mount->owners_flat |= !r->has_owners;
}

static void settle_bind(struct reading *r) {
        struct spec_mount *m = r->mount;

        m->type = "bind";
        if (str_empty(m->source)) {
                config_fail(r->node, "source", "a bind needs one");
                return;
        }
        if (*m->source != '/')
                m->source = config_printf(r->node, "%s/%s", r->node->reader->bundle, m->source);
        if (*m->data)
                config_warn(r->node, "options", "ignoring \"%.100s\", which a bind has no use for", m->data);
        m->data = "";
}

static void check_paths(struct reading *r) {
        struct spec_mount *m = r->mount;

        if (str_empty(m->destination)) {
                config_fail(r->node, "destination", "is missing");
                return;
        }
        if (strlen(m->destination) >= PATH_MAX)
                config_fail(r->node, "destination", "is too long");
        if (m->source && strlen(m->source) >= PATH_MAX)
                config_fail(r->node, "source", "is too long");
        if (*m->destination != '/')
                m->destination = config_printf(r->node, "/%s", m->destination);
}

/* What @path is below "/proc": "" for that itself, "sys/kernel"; NULL when it is elsewhere. In @buf, PATH_MAX. */
static const char *below_proc(const char *path, char *buf) {
        size_t len = 0;

        for (const char *p = path, *end; *p; p = end) {
                p += strspn(p, "/");
                end = p + strcspn(p, "/");
                if (end == p || (end == p + 1 && *p == '.'))
                        continue;
                if (end == p + 2 && p[0] == '.' && p[1] == '.') {
                        while (len > 0 && buf[--len] != '/')
                                ;
                        continue;
                }
                if (len + (size_t) (end - p) + 2 > PATH_MAX)
                        return NULL;
                buf[len++] = '/';
                memcpy(buf + len, p, (size_t) (end - p));
                len += (size_t) (end - p);
        }
        buf[len] = '\0';
        return str_eq(buf, "/proc") ? "" : str_after(buf, "/proc/");
}

static bool is_procfs(const char *path) {
        struct statfs fs;

        return statfs(path, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/* As runc: security labels are written there, and what hides it would take them for itself. What lxcfs shows may be. */
static void check_proc(struct reading *r) {
        static const char *const allowed[] = { "cpuinfo",
                                               "diskstats",
                                               "meminfo",
                                               "stat",
                                               "swaps",
                                               "uptime",
                                               "loadavg",
                                               "slabinfo",
                                               "net/dev",
                                               "sys/kernel/ns_last_pid",
                                               "sys/crypto/fips_enabled" };
        const struct spec_mount *m = r->mount;
        char buf[PATH_MAX + 1];
        const char *below = m->destination ? below_proc(m->destination, buf) : NULL;

        if (!below)
                return;
        if (!*below) {
                if (!str_eq(m->type, "proc") && !(r->is_bind && m->source && is_procfs(m->source)))
                        config_fail(r->node, "destination", "only a proc file system can be mounted on /proc");
                return;
        }
        for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++)
                if (str_eq(below, allowed[i]))
                        return;
        if (str_eq(m->type, "proc"))
                return;
        config_fail(r->node, "destination", "\"%.100s\" cannot be mounted because it is inside /proc", buf);
}

static void read_mount(const struct config_node *n, const struct spec *spec, struct spec_mount *m) {
        struct reading r = { .node = n, .mount = m, .data = STRBUF(MAX_DATA), .spec = spec };

        m->source_fd = -1;
        m->destination = config_string(n, "destination");
        m->source = config_string(n, "source");
        m->type = config_text(n, "type");
        take_options(&r);
        strbuf_done(&r.data);
        check_paths(&r);
        r.is_bind |= str_eq(m->type, "bind"); /* as crun */
        if (r.is_bind)
                settle_bind(&r);
        else if (!m->type && !(m->flags & MS_REMOUNT))
                config_fail(n, "type", "is missing");
        check_proc(&r);
        take_owners(&r);
        if (m->tmpcopyup && !str_eq(m->type, "tmpfs"))
                config_fail(n, "options", "only a tmpfs can have tmpcopyup");
        if (m->copy_symlink && !r.is_bind)
                config_fail(n, "options", "only a bind can have copy-symlink");
}

void config_read_mounts(const struct config_node *root, struct spec *spec) {
        struct config_node list = config_array(root, "mounts", CONFIG_MAX_MOUNTS);
        size_t n = config_count(&list);
        struct spec_mount *mounts = config_array_of(&list, struct spec_mount, n);

        for (size_t i = 0; mounts && i < n; i++) {
                struct config_node mount = config_item_object(&list, i);

                read_mount(&mount, spec, &mounts[i]);
        }
        spec->mounts = mounts;
        spec->n_mounts = mounts ? n : 0;
}
