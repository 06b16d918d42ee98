/* SPDX-License-Identifier: Apache-2.0 */
/* plan-mounts - the mounts of a spec as records, in the spec's order, and everything that follows from them: what
 * liblxc mounted already, the container's view of the cgroups, devices and links of /dev, and what ends read-only. */
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "init/sys.h"
#include "runtime/lxc/config.h"
#include "runtime/lxc/plan-writer.h"

static bool is_bind(const struct spec_mount *m) {
        return m->source_fd >= 0 || str_eq(m->type, "bind") || (m->flags & MS_BIND);
}

/* Of a kind that is filled by later mounts and devices: made writable, and read-only when all is done. */
static bool is_late_readonly(const struct spec_mount *m) {
        return !is_bind(m) && (m->flags & MS_RDONLY) && (str_eq(m->type, "tmpfs") || lxc_mount_is_on(m, "/dev"));
}

static void put_setattr(struct plan_writer *w, const char *path, unsigned long flags) {
        struct plan_record rec = { .op = PLAN_SETATTR, .fd = -1 };

        plan_attributes(flags, &rec.a, &rec.b);
        if (rec.a || rec.b)
                PLAN_PUT_REC(w, rec, path);
}

static void put_new(struct plan_writer *w, const char *type, const char *source, const char *target, const char *data,
                    unsigned long flags) {
        PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_MOUNT, .fd = -1, .a = flags }), type, source, target, data);
}

/* As runc: the kernel's own file systems have the labels that the policy gives them; POSIX queues are shared by the
 * pod, so that only their folder can be given one. */
static int put_labelled(struct plan_writer *w, const struct spec *spec, const struct spec_mount *m, const char *target,
                        unsigned long flags, struct err *err) {
        const char *source = str_empty(m->source) ? m->type : m->source, *data = m->data ? m->data : "";
        char with_label[4096];

        if (spec->mount_label && !str_eq(m->type, "proc") && !str_eq(m->type, "sysfs") && !str_eq(m->type, "mqueue")) {
                if ((size_t) snprintf(with_label, sizeof(with_label), "%s%scontext=\"%s\"", data, *data ? "," : "",
                                      spec->mount_label) >= sizeof(with_label))
                        return err_set(err, ERR_INVALID, "the options of the mount on %.64s are too long", target);
                data = with_label;
        }
        put_new(w, m->type, source, target, data, flags);
        if (spec->mount_label && str_eq(m->type, "mqueue"))
                PLAN_PUT(w, PLAN_LABEL, target, spec->mount_label);
        return 0;
}

static int put_attach(struct plan_writer *w, int tree, const char *target, struct err *err) {
        int i = plan_put_fd(w, tree, err);

        if (i < 0)
                return i;
        PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_ATTACH, .fd = i }), target);
        return 0;
}

static int put_bind(struct plan_writer *w, const struct spec *spec, const struct spec_mount *m, const char *target,
                    struct err *err) {
        _cleanup_(fd_closep) int tree = m->source_fd;
        int r;

        if (tree < 0)
                r = tree = plan_clone_source(m, m->source, err);
        else
                r = plan_set_attributes(tree, m, err);
        if (r >= 0)
                r = plan_map_owners(tree, m, spec, err);
        return r < 0 ? r : put_attach(w, TAKE_FD(tree), target, err);
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
        tree = plan_clone_source(&bind, source, err);
        return tree < 0 ? tree : put_attach(w, tree, target, err);
}

static int put_cgroup(struct plan_writer *w, const struct spec *spec, const struct plan_host *host,
                      const struct spec_mount *m, const char *target, struct err *err) {
        const unsigned long fixed = MS_NOSUID | MS_NODEV | MS_NOEXEC;
        char path[4096];
        int r;

        if (host->mode == CGROUP_V2) {
                put_new(w, "cgroup2", "cgroup", target, "", m->flags);
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

/* There is none of its own for who doesn't own the network namespace: the host's, as crun does. */
static int put_host_sys(struct plan_writer *w, const struct spec_mount *m, const char *target, struct err *err) {
        struct spec_mount bind = { .destination = target, .flags = m->flags, .recursive = true, .source_fd = -1 };
        int tree = plan_clone_source(&bind, "/sys", err);

        return tree < 0 ? tree : put_attach(w, tree, target, err);
}

/* The one that liblxc has made. */
static bool is_first_on(const struct spec *spec, const struct spec_mount *m, const char *path) {
        for (size_t i = 0; i < spec->n_mounts; i++)
                if (lxc_mount_is_on(&spec->mounts[i], path))
                        return &spec->mounts[i] == m;
        return false;
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
        if (is_bind(m))
                return put_bind(w, spec, m, target, err);
        if ((str_eq(m->type, "proc") && is_first_on(spec, m, "/proc")) ||
            (lxc_mounted_sys(spec) == LXC_MOUNTED_NEW && is_first_on(spec, m, "/sys"))) {
                put_setattr(w, target, flags);
                return 0;
        }
        if (str_eq(m->type, "sysfs") && !lxc_may_mount_sys(spec))
                return put_host_sys(w, m, target, err);
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

/* A user namespace can't make devices: the host's are bound, by the same path or the one udev keeps by number. */
static int put_host_device(struct plan_writer *w, const struct spec_device *d, struct err *err) {
        struct spec_mount bind = { .destination = d->path, .source_fd = -1 };
        char by_number[64];
        const char *path = d->path;
        struct stat st;
        int tree;

        if (d->type == 'p')
                return err_set(err, ERR_INVALID, "device %s: no fifo can be made in a user namespace", d->path);
        (void) snprintf(by_number, sizeof(by_number), "/dev/%s/%u:%u", d->type == 'b' ? "block" : "char", d->major,
                        d->minor);
        if (stat(path, &st) < 0 || st.st_rdev != makedev(d->major, d->minor) || S_ISBLK(st.st_mode) != (d->type == 'b'))
                path = by_number;
        if (stat(path, &st) < 0 || st.st_rdev != makedev(d->major, d->minor))
                return err_set(err, ERR_INVALID, "device %s: the host has no device %c %u:%u to bind", d->path, d->type,
                               d->major, d->minor);
        bind.source = path;
        tree = plan_clone_source(&bind, path, err);
        return tree < 0 ? tree : put_attach(w, tree, d->path, err);
}

static int put_device(struct plan_writer *w, const struct spec *spec, const struct spec_device *d, struct err *err) {
        mode_t type = d->type == 'b' ? S_IFBLK : d->type == 'p' ? S_IFIFO : S_IFCHR;
        struct plan_record rec = {
                .op = PLAN_MKNOD,
                .fd = -1,
                .a = type | (d->mode & 07777),
                .b = d->type == 'p' ? 0 : makedev(d->major, d->minor),
                .c = d->uid,
                .d = d->gid,
        };

        if (SPEC_HAS_USER_NS(spec))
                return put_host_device(w, d, err);
        PLAN_PUT_REC(w, rec, d->path);
        return 0;
}

static const struct spec_mount *find_on(const struct spec *spec, const char *path) {
        for (size_t i = spec->n_mounts; i > 0; i--)
                if (lxc_mount_is_on(&spec->mounts[i - 1], path))
                        return &spec->mounts[i - 1];
        return NULL;
}

int plan_put_devices(struct plan_writer *w, const struct spec *spec, struct err *err) {
        static const char *const links[][2] = { { "/proc/self/fd", "/dev/fd" },
                                                { "/proc/self/fd/0", "/dev/stdin" },
                                                { "/proc/self/fd/1", "/dev/stdout" },
                                                { "/proc/self/fd/2", "/dev/stderr" } };
        const struct spec_mount *dev = find_on(spec, "/dev"), *pts = find_on(spec, "/dev/pts");
        int r = 0;

        /* Somebody's own folder, the host's as a rule: nothing is to be made in there. */
        if (dev && is_bind(dev))
                return 0;
        for (size_t i = 0; i < spec->n_devices && r == 0; i++)
                r = put_device(w, spec, &spec->devices[i], err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(links); i++)
                PLAN_PUT(w, PLAN_SYMLINK, links[i][0], links[i][1]);
        if (pts && str_eq(pts->type, "devpts"))
                PLAN_PUT(w, PLAN_SYMLINK, "pts/ptmx", "/dev/ptmx");
        return 0;
}

void plan_put_protection(struct plan_writer *w, const struct spec *spec) {
        for (const char *const *p = spec->readonly_paths; p && *p; p++)
                PLAN_PUT(w, PLAN_READONLY, *p);
        for (const char *const *p = spec->masked_paths; p && *p; p++)
                PLAN_PUT(w, PLAN_MASK, *p, spec->mount_label ? spec->mount_label : "");
        for (size_t i = 0; i < spec->n_mounts; i++)
                if (is_late_readonly(&spec->mounts[i]))
                        put_setattr(w, spec->mounts[i].destination, MS_RDONLY);
        if (spec->rootfs_propagation & MS_SHARED)
                PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_ROOT_PROPAGATION, .fd = -1, .a = MS_SHARED }));
        if (spec->readonly_rootfs)
                PLAN_PUT(w, PLAN_ROOT_READONLY);
}
