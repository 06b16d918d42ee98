/* SPDX-License-Identifier: Apache-2.0 */
/* plan-mounts - the mounts of a spec as records, in the spec's order, and everything that follows from them: what
 * liblxc mounted already, the container's view of the cgroups, and what ends read-only. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "init/sys.h"
#include "runtime/lxc/config.h"
#include "runtime/lxc/plan-writer.h"

bool plan_is_bind(const struct spec_mount *m) {
        return m->source_fd >= 0 || str_eq(m->type, "bind") || (m->flags & MS_BIND);
}

/* Of a kind that is filled by later mounts and devices: made writable, and read-only when all is done. */
static bool is_late_readonly(const struct spec_mount *m) {
        return !plan_is_bind(m) && ((m->flags & MS_RDONLY) || (m->recursive_set & SYS_ATTR_RDONLY)) &&
               !(m->flags & MS_REMOUNT) && (str_eq(m->type, "tmpfs") || lxc_mount_is_on(m, "/dev"));
}

static void put_setattr(struct plan_writer *w, const char *path, unsigned long flags) {
        struct plan_record rec = { .op = PLAN_SETATTR, .fd = -1 };

        plan_attributes(flags, 0, &rec.a, &rec.b);
        if (rec.a || rec.b)
                PLAN_PUT_REC(w, rec, path);
}

/* What mount(2) has no flags for. */
static void put_after(struct plan_writer *w, const struct spec_mount *m, const char *target) {
        struct plan_record tree = { .op = PLAN_SETATTR,
                                    .fd = -1,
                                    .flags = PLAN_ATTACH_RECURSIVE_ATTR,
                                    .a = m->recursive_set,
                                    .b = m->recursive_clear };
        struct plan_record propagation = { .op = PLAN_SETATTR, .fd = -1, .c = m->propagation };

        if (is_late_readonly(m))
                tree.a &= ~(uint64_t) SYS_ATTR_RDONLY;
        if (tree.a || tree.b)
                PLAN_PUT_REC(w, tree, target);
        if (m->propagation)
                PLAN_PUT_REC(w, propagation, target);
}

/* What liblxc has mounted gets exactly the flags that are listed. */
static void put_mounted(struct plan_writer *w, const struct spec_mount *m, const char *target) {
        struct plan_record rec = { .op = PLAN_SETATTR, .fd = -1 };
        const unsigned long given = MS_NOSUID | MS_NODEV | MS_NOEXEC;

        if (!str_empty(m->data)) /* hidepid= and the like */
                PLAN_PUT_REC(
                        w,
                        ((struct plan_record){ .op = PLAN_REMOUNT, .fd = -1, .a = m->flags | MS_REMOUNT | MS_SILENT }),
                        target, m->data);
        plan_attributes(m->flags, given & ~m->flags, &rec.a, &rec.b);
        if (rec.a || rec.b)
                PLAN_PUT_REC(w, rec, target);
        put_after(w, m, target);
}

static void put_new_flagged(struct plan_writer *w, const char *type, const char *source, const char *target,
                            const char *data, unsigned long flags, unsigned how) {
        PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_MOUNT, .fd = -1, .a = flags, .flags = (uint16_t) how }), type,
                     source, target, data);
}

static void put_new(struct plan_writer *w, const char *type, const char *source, const char *target, const char *data,
                    unsigned long flags) {
        put_new_flagged(w, type, source, target, data, flags, 0);
}

/* Those whose content is that of one of the container's namespaces, or that begin empty. All others may name things of
 * the host in their source and options. */
static bool is_made_inside(const char *type) {
        static const char *const inside[] = { "tmpfs",  "ramfs",  "proc",    "sysfs",       "devpts",
                                              "mqueue", "cgroup", "cgroup2", "binfmt_misc", "hugetlbfs" };

        for (size_t i = 0; i < ELEMENTSOF(inside); i++)
                if (str_eq(type, inside[i]))
                        return true;
        return false;
}

int plan_put_attach(struct plan_writer *w, int tree, const char *target, struct err *err) {
        int i = plan_put_fd(w, tree, err);

        if (i < 0)
                return i;
        PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_ATTACH, .fd = i }), target);
        return 0;
}

static int put_from_host(struct plan_writer *w, const struct spec_mount *m, const char *source, const char *target,
                         const char *data, struct err *err) {
        int tree = plan_mount_on_host(m, source, data, err);

        return tree < 0 ? tree : plan_put_attach(w, tree, target, err);
}

/* As runc: the kernel's own file systems have the labels that the policy gives them; POSIX queues are shared by the
 * pod, so that only their folder can be given one. */
static int put_labelled(struct plan_writer *w, const struct spec *spec, const struct spec_mount *m, const char *target,
                        unsigned long flags, struct err *err) {
        const char *source = str_empty(m->source) ? m->type : m->source, *data = m->data ? m->data : "";
        char with_label[4096];
        unsigned how = 0;

        if (spec->mount_label && !str_eq(m->type, "proc") && !str_eq(m->type, "sysfs") && !str_eq(m->type, "mqueue")) {
                if ((size_t) snprintf(with_label, sizeof(with_label), "%s%scontext=\"%s\"", data, *data ? "," : "",
                                      spec->mount_label) >= sizeof(with_label))
                        return err_set(err, ERR_INVALID, "the options of the mount on %.64s are too long", target);
                data = with_label;
        }
        if (!is_made_inside(m->type))
                return put_from_host(w, m, source, target, data, err);
        if (str_eq(m->type, "tmpfs"))
                how = (spec->is_bundle ? PLAN_MOUNT_KEEP_MODE : 0u) | (m->tmpcopyup ? PLAN_MOUNT_COPY_UP : 0u);
        put_new_flagged(w, m->type, source, target, data, flags, how);
        if (spec->mount_label && str_eq(m->type, "mqueue"))
                PLAN_PUT(w, PLAN_LABEL, target, spec->mount_label);
        put_after(w, m, target);
        return 0;
}

static bool put_copied_link(struct plan_writer *w, const char *source, const char *target) {
        char link[PATH_MAX];
        ssize_t n = readlink(source, link, sizeof(link) - 1);

        if (n <= 0 || n >= (ssize_t) sizeof(link) - 1)
                return false;
        link[n] = '\0';
        PLAN_PUT(w, PLAN_SYMLINK, link, target);
        return true;
}

static int put_bind(struct plan_writer *w, const struct spec *spec, const struct spec_mount *m, const char *target,
                    struct err *err) {
        int tree;

        if (m->source_fd < 0 && m->copy_symlink && put_copied_link(w, m->source, target))
                return 0;
        tree = plan_take_source(spec, m, err);
        return tree < 0 ? tree : plan_put_attach(w, tree, target, err);
}

/* "cpu,cpuacct" -> links "cpu" and "cpuacct". */
static void put_comount_links(struct plan_writer *w, const char *target, const struct plan_hierarchy *h) {
        char names[sizeof(h->name)], path[4096], *name, *rest = names;

        if (!strchr(h->name, ','))
                return;
        (void) snprintf(names, sizeof(names), "%s", h->name);
        while ((name = strsep(&rest, ","))) {
                if ((size_t) snprintf(path, sizeof(path), "%s/%s", target, name) < sizeof(path))
                        PLAN_PUT(w, PLAN_SYMLINK, h->name, path);
        }
}

/* With a cgroup namespace of its own the container mounts the hierarchies itself and sees its own part as their root;
 * else its part of each is bound. */
static int put_hierarchy(struct plan_writer *w, const struct spec *spec, const struct plan_hierarchy *h,
                         const char *target, unsigned long flags, struct err *err) {
        const struct spec_mount bind = { .destination = target, .flags = flags, .source_fd = -1 };
        char source[4096];
        int tree;

        if (spec->ns[SPEC_NS_CGROUP].create) {
                put_new(w, *h->options ? "cgroup" : "cgroup2", "cgroup", target, h->options, flags);
                return 0;
        }
        if ((size_t) snprintf(source, sizeof(source), "%s%s", h->path, spec->cgroup_path ? spec->cgroup_path : "") >=
            sizeof(source))
                return err_set(err, ERR_INVALID, "the path of the cgroup is too long");
        if (access(source, F_OK) < 0) /* the container has no group of its own in this one */
                return 0;
        tree = plan_clone_source(NULL, &bind, source, err);
        return tree < 0 ? tree : plan_put_attach(w, tree, target, err);
}

/* What can't be mounted anew: the host's. */
static int put_host_tree(struct plan_writer *w, const struct spec_mount *m, const char *source, const char *target,
                         struct err *err) {
        struct spec_mount bind = { .destination = target, .flags = m->flags, .recursive = true, .source_fd = -1 };
        int tree = plan_clone_source(NULL, &bind, source, err);

        return tree < 0 ? tree : plan_put_attach(w, tree, target, err);
}

static int put_cgroup(struct plan_writer *w, const struct spec *spec, const struct plan_host *host,
                      const struct spec_mount *m, const char *target, struct err *err) {
        const unsigned long fixed = MS_NOSUID | MS_NODEV | MS_NOEXEC;
        char path[4096];
        int r;

        /* A user namespace can mount only what a cgroup namespace of its own makes its own. */
        if ((host->mode == CGROUP_V2 || str_eq(m->type, "cgroup2")) && SPEC_HAS_USER_NS(spec) &&
            !spec->ns[SPEC_NS_CGROUP].create && !spec->ns[SPEC_NS_CGROUP].path)
                return put_host_tree(w, m, host->mode == CGROUP_V2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified",
                                     target, err);
        if (host->mode == CGROUP_V2 || str_eq(m->type, "cgroup2")) {
                put_new(w, "cgroup2", "cgroup", target, "", m->flags);
                put_after(w, m, target);
                return 0;
        }
        put_new(w, "tmpfs", "tmpfs", target, "mode=755", fixed);
        for (size_t i = 0; i < host->n_hierarchies; i++) {
                const struct plan_hierarchy *h = &host->hierarchies[i];

                if ((size_t) snprintf(path, sizeof(path), "%s/%s", target, h->name) >= sizeof(path))
                        return err_set(err, ERR_INVALID, "the target %.64s... is too long", target);
                r = put_hierarchy(w, spec, h, path, fixed | (m->flags & (MS_RDONLY | MS_RELATIME)), err);
                if (r < 0)
                        return r;
                put_comount_links(w, target, h);
        }
        if (m->flags & MS_RDONLY)
                put_setattr(w, target, MS_RDONLY);
        return 0;
}

/* Of a mount ("bind"), or of its file system. */
static void put_remount(struct plan_writer *w, const struct spec_mount *m, const char *target) {
        struct plan_record rec = { .op = PLAN_SETATTR, .fd = -1 };

        if (plan_is_bind(m)) {
                plan_attributes(m->flags, ~m->flags & ~(unsigned long) MS_NOATIME, &rec.a, &rec.b);
                PLAN_PUT_REC(w, rec, target);
        } else
                PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_REMOUNT, .fd = -1, .a = m->flags }), target,
                             m->data ? m->data : "");
        put_after(w, m, target);
}

/* The one that liblxc has made. */
static bool is_first_on(const struct spec *spec, const struct spec_mount *m, const char *path) {
        for (size_t i = 0; i < spec->n_mounts; i++)
                if (lxc_mount_is_on(&spec->mounts[i], path))
                        return &spec->mounts[i] == m;
        return false;
}

/* A bundle's mount must not take the place of what the kernel, or we, believe to be procfs (CVE-2019-16884,
 * CVE-2019-19921): as runc, only what lxcfs makes may be mounted in there, and over all of it only a procfs. */
static int check_over_proc(const struct spec_mount *m, const char *target, struct err *err) {
        static const char *const fine[] = { "cpuinfo",
                                            "diskstats",
                                            "meminfo",
                                            "stat",
                                            "swaps",
                                            "uptime",
                                            "loadavg",
                                            "slabinfo",
                                            "sys/kernel/ns_last_pid",
                                            "sys/crypto/fips_enabled" };
        const char *at = target + strspn(target, "/");
        struct statfs fs;

        if (strncmp(at, "proc", 4) != 0 || (at[4] && at[4] != '/'))
                return 0;
        at += 4;
        at += strspn(at, "/");
        if (!*at) {
                if (str_eq(m->type, "proc") ||
                    (plan_is_bind(m) &&
                     (m->source_fd >= 0 ? fstatfs(m->source_fd, &fs) : statfs(m->source, &fs)) == 0 &&
                     (long) fs.f_type == SYS_PROC_MAGIC))
                        return 0;
                return err_set(err, ERR_INVALID, "mounts: \"%.256s\" cannot be mounted because it is not of type proc",
                               target);
        }
        for (size_t i = 0; i < ELEMENTSOF(fine); i++)
                if (str_eq(at, fine[i]))
                        return 0;
        return err_set(err, ERR_INVALID, "mounts: \"%.256s\" cannot be mounted because it is inside /proc", target);
}

static int put_mount(struct plan_writer *w, const struct spec *spec, const struct plan_host *host,
                     const struct spec_mount *m, struct err *err) {
        unsigned long flags = m->flags;
        char relative[4096];
        const char *target = m->destination;

        if (target[0] != '/') { /* as the OCI runtime specification takes it: from the root */
                if ((size_t) snprintf(relative, sizeof(relative), "/%s", target) >= sizeof(relative)) {
                        (void) fd_close(m->source_fd);
                        return err_set(err, ERR_INVALID, "the target %.64s... is too long", target);
                }
                target = relative;
        }
        if (m->flags & MS_REMOUNT) {
                put_remount(w, m, target);
                (void) fd_close(m->source_fd);
                return 0;
        }
        if (target[strspn(target, "/")] == '\0') {
                (void) fd_close(m->source_fd);
                return err_set(err, ERR_INVALID,
                               "mount on %s: nothing can be mounted over the root; it is root.path's, and "
                               "linux.rootfsPropagation is for its propagation",
                               target);
        }
        if (spec->is_bundle && check_over_proc(m, target, err) < 0) {
                (void) fd_close(m->source_fd);
                return -(int) err->code;
        }
        if (plan_is_bind(m))
                return put_bind(w, spec, m, target, err);
        if ((str_eq(m->type, "proc") && is_first_on(spec, m, "/proc")) ||
            (lxc_mounted_sys(spec) == LXC_MOUNTED_NEW && is_first_on(spec, m, "/sys"))) {
                put_mounted(w, m, target);
                return 0;
        }
        if (str_eq(m->type, "sysfs") && !lxc_may_mount_sys(spec)) /* as crun */
                return put_host_tree(w, m, "/sys", target, err);
        if (str_eq(m->type, "cgroup") || str_eq(m->type, "cgroup2"))
                return put_cgroup(w, spec, host, m, target, err);
        if (is_late_readonly(m))
                flags &= ~(unsigned long) MS_RDONLY;
        return put_labelled(w, spec, m, target, flags & ~(unsigned long) MS_REC, err);
}

int plan_put_mounts(struct plan_writer *w, const struct spec *spec, const struct plan_host *host, struct err *err) {
        int r = 0;

        if (lxc_mounted_proc(spec) != LXC_MOUNTED_NEW)
                PLAN_PUT(w, PLAN_UMOUNT, "/proc");
        for (size_t i = 0; i < spec->n_mounts; i++) {
                if (r == 0)
                        r = put_mount(w, spec, host, &spec->mounts[i], err);
                else /* taken in any case */
                        (void) fd_close(spec->mounts[i].source_fd);
        }
        return r;
}

static void put_late_readonly(struct plan_writer *w, const struct spec_mount *m) {
        bool tree = m->recursive_set & SYS_ATTR_RDONLY;

        PLAN_PUT_REC(w,
                     ((struct plan_record){ .op = PLAN_SETATTR,
                                            .fd = -1,
                                            .a = SYS_ATTR_RDONLY,
                                            .flags = tree ? PLAN_ATTACH_RECURSIVE_ATTR : 0 }),
                     m->destination);
}

/* Which the root's has taken from it. */
static void put_own_propagation(struct plan_writer *w, const struct spec_mount *m) {
        bool flat = m->propagation_flat || !plan_is_bind(m);
        struct plan_record rec = { .op = PLAN_SETATTR,
                                   .fd = -1,
                                   .c = m->propagation & ~(unsigned long) MS_REC,
                                   .flags = flat ? 0 : PLAN_ATTACH_RECURSIVE_ATTR };

        if (rec.c)
                PLAN_PUT_REC(w, rec, m->destination);
}

void plan_put_protection(struct plan_writer *w, const struct spec *spec) {
        unsigned long root = spec->rootfs_propagation;

        for (const char *const *p = spec->readonly_paths; p && *p; p++)
                PLAN_PUT(w, PLAN_READONLY, *p);
        for (const char *const *p = spec->masked_paths; p && *p; p++)
                PLAN_PUT(w, PLAN_MASK, *p, spec->mount_label ? spec->mount_label : "");
        for (size_t i = 0; i < spec->n_mounts; i++)
                if (is_late_readonly(&spec->mounts[i]))
                        put_late_readonly(w, &spec->mounts[i]);
        if (root & (MS_SHARED | MS_SLAVE | MS_UNBINDABLE))
                PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_ROOT_PROPAGATION, .fd = -1, .a = root }));
        for (size_t i = 0; root & MS_REC && i < spec->n_mounts; i++)
                put_own_propagation(w, &spec->mounts[i]);
        if (spec->readonly_rootfs)
                PLAN_PUT(w, PLAN_ROOT_READONLY);
}
