/* SPDX-License-Identifier: Apache-2.0 */
/* plan-devices - devices and links of /dev as records. */
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "runtime/lxc/config.h"
#include "runtime/lxc/plan-writer.h"

/* A user namespace can't make devices: the host's are bound, by the same path or the one udev keeps by number. */
static int put_host_device(struct plan_writer *w, const struct spec_device *d, struct err *err) {
        struct spec_mount bind = { .destination = d->path, .source_fd = -1 };
        char by_number[64];
        const char *path = d->path;
        struct stat st;
        int tree;

        (void) snprintf(by_number, sizeof(by_number), "/dev/%s/%u:%u", d->type == 'b' ? "block" : "char", d->major,
                        d->minor);
        if (stat(path, &st) < 0 || st.st_rdev != makedev(d->major, d->minor) || S_ISBLK(st.st_mode) != (d->type == 'b'))
                path = by_number;
        if (stat(path, &st) < 0 || st.st_rdev != makedev(d->major, d->minor))
                return err_set(err, ERR_INVALID, "device %s: the host has no device %c %u:%u to bind", d->path, d->type,
                               d->major, d->minor);
        bind.source = path;
        tree = plan_clone_source(NULL, &bind, path, err);
        return tree < 0 ? tree : plan_put_attach(w, tree, d->path, err);
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

        if (SPEC_HAS_USER_NS(spec) && d->type != 'p')
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

static bool has_device(const struct spec *spec, const char *path) {
        for (size_t i = 0; i < spec->n_devices; i++)
                if (str_eq(spec->devices[i].path, path))
                        return true;
        return false;
}

static int put_default_devices(struct plan_writer *w, const struct spec *spec, struct err *err) {
        static const struct spec_device devices[] = {
                { "/dev/null", 'c', 1, 3, 0666, 0, 0 },    { "/dev/zero", 'c', 1, 5, 0666, 0, 0 },
                { "/dev/full", 'c', 1, 7, 0666, 0, 0 },    { "/dev/random", 'c', 1, 8, 0666, 0, 0 },
                { "/dev/urandom", 'c', 1, 9, 0666, 0, 0 }, { "/dev/tty", 'c', 5, 0, 0666, 0, 0 },
        };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(devices) && r == 0; i++)
                if (!has_device(spec, devices[i].path))
                        r = put_device(w, spec, &devices[i], err);
        return r;
}

static void put_links(struct plan_writer *w, const struct spec *spec) {
        static const char *const links[][2] = { { "/proc/self/fd", "/dev/fd" },
                                                { "/proc/self/fd/0", "/dev/stdin" },
                                                { "/proc/self/fd/1", "/dev/stdout" },
                                                { "/proc/self/fd/2", "/dev/stderr" } };
        const struct spec_mount *pts = find_on(spec, "/dev/pts");

        for (size_t i = 0; i < ELEMENTSOF(links); i++)
                PLAN_PUT(w, PLAN_SYMLINK, links[i][0], links[i][1]);
        if (spec->default_devices) {
                /* The image's may be the host's multiplexer. */
                PLAN_PUT_REC(w, ((struct plan_record){ .op = PLAN_SYMLINK, .fd = -1, .flags = PLAN_SYMLINK_REPLACE }),
                             "pts/ptmx", "/dev/ptmx");
                PLAN_PUT(w, PLAN_SYMLINK, "/proc/kcore", "/dev/core");
        } else if (pts && str_eq(pts->type, "devpts"))
                PLAN_PUT(w, PLAN_SYMLINK, "pts/ptmx", "/dev/ptmx");
}

int plan_put_devices(struct plan_writer *w, const struct spec *spec, struct err *err) {
        const struct spec_mount *dev = find_on(spec, "/dev");
        int r = 0;

        /* Somebody's own folder, the host's as a rule: nothing is to be made in there. */
        if (dev && plan_is_bind(dev))
                return 0;
        for (size_t i = 0; i < spec->n_devices && r == 0; i++)
                if (!spec->default_devices || !str_eq(spec->devices[i].path, "/dev/ptmx"))
                        r = put_device(w, spec, &spec->devices[i], err);
        if (r == 0 && spec->default_devices)
                r = put_default_devices(w, spec, err);
        if (r == 0)
                put_links(w, spec);
        return r;
}
