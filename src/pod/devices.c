/* SPDX-License-Identifier: Apache-2.0 */
/* devices - device nodes and the rules of the device filter: the few that every container has, those CRI names, or all
 * of the host's. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "base/cleanup.h"
#include "pod/specgen.h"

enum { MAX_DEVICES = 16384, MAX_DEPTH = 16, MAX_ENTRIES = 32768 };

struct gather {
        struct arena *arena;
        struct spec_device *devices;
        size_t n, cap;
        size_t n_entries;   /* looked at in folders */
        const char *access; /* for rules; NULL: none are made */
        bool only_public;   /* devices that everybody may open */
        struct spec_device_rule *rules;
        size_t n_rules, cap_rules;
};

/* Grow an arena's array to hold one more. */
static void *grown(struct arena *arena, void *old, size_t n, size_t *cap, size_t size) {
        void *to;

        if (n < *cap)
                return old;
        *cap = *cap ? *cap * 2 : 16;
        to = arena_xalloc(arena, *cap, size);
        if (n > 0)
                memcpy(to, old, n * size);
        return to;
}

static void add_rule(struct gather *g, const struct spec_device_rule *rule) {
        g->rules = grown(g->arena, g->rules, g->n_rules, &g->cap_rules, sizeof(*g->rules));
        g->rules[g->n_rules++] = *rule;
}

static int add_node(struct gather *g, const char *path, const struct stat *st, struct err *err) {
        char type = S_ISBLK(st->st_mode) ? 'b' : 'c';

        if (g->n >= MAX_DEVICES)
                return err_set(err, ERR_EXHAUSTED, "more than %d devices", MAX_DEVICES);
        g->devices = grown(g->arena, g->devices, g->n, &g->cap, sizeof(*g->devices));
        g->devices[g->n++] = (struct spec_device){
                .path = path,
                .type = type,
                .major = major(st->st_rdev),
                .minor = minor(st->st_rdev),
                .mode = st->st_mode & 07777,
                .uid = st->st_uid,
                .gid = st->st_gid,
        };
        if (g->access)
                add_rule(g, &(struct spec_device_rule){ .allow = true,
                                                        .type = type,
                                                        .major = major(st->st_rdev),
                                                        .minor = minor(st->st_rdev),
                                                        .access = g->access });
        return 0;
}

/* What the OCI runtime specification gives every container. pts nodes are made by devpts, only their use is allowed. */
static const struct spec_device default_nodes[] = {
        { "/dev/null", 'c', 1, 3, 0666, 0, 0 },    { "/dev/zero", 'c', 1, 5, 0666, 0, 0 },
        { "/dev/full", 'c', 1, 7, 0666, 0, 0 },    { "/dev/random", 'c', 1, 8, 0666, 0, 0 },
        { "/dev/urandom", 'c', 1, 9, 0666, 0, 0 }, { "/dev/tty", 'c', 5, 0, 0666, 0, 0 },
};
static const struct spec_device_rule default_rules[] = {
        { true, 'c', -1, -1, "m" }, { true, 'b', -1, -1, "m" },    { true, 'c', 1, 3, "rwm" },
        { true, 'c', 1, 5, "rwm" }, { true, 'c', 1, 7, "rwm" },    { true, 'c', 1, 8, "rwm" },
        { true, 'c', 1, 9, "rwm" }, { true, 'c', 5, 0, "rwm" },    { true, 'c', 5, 1, "rwm" },
        { true, 'c', 5, 2, "rwm" }, { true, 'c', 136, -1, "rwm" },
};

static bool has_node(const struct gather *g, const char *path) {
        for (size_t i = 0; i < g->n; i++)
                if (str_eq(g->devices[i].path, path))
                        return true;
        return false;
}

static void add_defaults(struct gather *g) {
        for (size_t i = 0; i < ELEMENTSOF(default_nodes); i++) {
                if (has_node(g, default_nodes[i].path))
                        continue; /* CRI's choice for that name */
                g->devices = grown(g->arena, g->devices, g->n, &g->cap, sizeof(*g->devices));
                g->devices[g->n++] = default_nodes[i];
        }
}

/* With a folder of the host's in place of /dev, making nodes would change the host's. */
static bool has_own_dev(const CRI(ContainerConfig) * config, struct arena *arena) {
        for (size_t i = 0; i < config->n_mounts; i++) {
                const char *path = path_clean(arena, config->mounts[i]->container_path);
                if (path && str_eq(path, "/dev"))
                        return false;
        }
        return true;
}

static bool is_device(const struct stat *st) {
        return S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
}

/* What lies in /dev but is no device of the host: other mounts, and what each container gets its own of. */
static bool is_skipped(const char *name) {
        static const char *const names[] = { ".",       "..",   "pts",       "shm",  "fd",          "mqueue",
                                             "console", "ptmx", "hugepages", ".lxc", ".lxd-mounts", ".udev" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (str_eq(name, names[i]))
                        return true;
        return false;
}

/* The host's devices are no property of a user namespace's root: most it could only look at, and they are hundreds. */
static bool is_out_of_reach(const struct gather *g, const struct stat *st) {
        return g->only_public && (st->st_mode & 0006) != 0006;
}

/* All devices below the folder @fd (taken), which the container sees as @as. Links are not followed. */
static int add_folder(struct gather *g, int fd, const char *as, unsigned depth, struct err *err) {
        _cleanup_(closedirp) DIR *dir = fdopendir(fd);
        struct dirent *e;
        int r;

        if (!dir) {
                r = errno;
                (void) close(fd);
                return err_sys(err, r, "read %s", as);
        }
        while ((e = readdir(dir))) {
                struct stat st;
                const char *path;

                if (++g->n_entries > MAX_ENTRIES)
                        return err_set(err, ERR_INVALID,
                                       "devices: the folders that are named hold more than %d files; %.256s is none of "
                                       "devices",
                                       MAX_ENTRIES, as);
                if (is_skipped(e->d_name) || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue; /* gone meanwhile: devices come and go */
                path = arena_printf(g->arena, "%s/%s", str_eq(as, "/") ? "" : as, e->d_name);
                r = 0;
                if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH) {
                        int sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                        if (sub >= 0)
                                r = add_folder(g, sub, path, depth + 1, err);
                } else if (is_device(&st) && !is_out_of_reach(g, &st))
                        r = add_node(g, path, &st, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int add_cri(struct gather *g, const CRI(Device) * d, struct err *err) {
        const char *inside = path_clean(g->arena, str_empty(d->container_path) ? d->host_path : d->container_path);
        _cleanup_(fd_closep) int fd = -1;
        struct stat st;

        if (*d->host_path != '/' || !inside || str_eq(inside, "/") || strlen(inside) >= PATH_MAX)
                return err_set(err, ERR_INVALID, "a device's paths must be absolute (\"%.128s\", \"%.128s\")",
                               d->host_path, d->container_path);
        if (strspn(d->permissions, "rwm") != strlen(d->permissions) || strlen(d->permissions) > 3)
                return err_set(err, ERR_INVALID, "permissions \"%.16s\" of device %.128s are not some of \"rwm\"",
                               d->permissions, d->host_path);
        if (stat(d->host_path, &st) < 0)
                return err_set(err, ERR_INVALID, "device %.256s: %s", d->host_path, strerror(errno));
        g->access = str_empty(d->permissions) ? "rwm" : arena_strdup(g->arena, d->permissions);
        if (is_device(&st))
                return add_node(g, inside, &st, err);
        if (!S_ISDIR(st.st_mode))
                return err_set(err, ERR_INVALID, "%.256s is no device", d->host_path);
        fd = open(d->host_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? err_sys(err, errno, "open %.256s", d->host_path) : add_folder(g, TAKE_FD(fd), inside, 0, err);
}

static int add_all_of_host(struct gather *g, struct err *err) {
        int fd = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return err_sys(err, errno, "open /dev");
        g->access = NULL;
        return add_folder(g, fd, "/dev", 0, err);
}

int devices_build(const CRI(ContainerConfig) * config, bool host_devices, struct arena *arena, struct spec *spec,
                  struct err *err) {
        struct gather g = { .arena = arena, .only_public = SPEC_HAS_USER_NS(spec) };
        bool all = host_devices && container_is_privileged(config);
        int r = 0;

        add_rule(&g,
                 &(struct spec_device_rule){ .allow = all, .type = 'a', .major = -1, .minor = -1, .access = "rwm" });
        for (size_t i = 0; i < ELEMENTSOF(default_rules) && !all; i++)
                add_rule(&g, &default_rules[i]);
        if (all)
                r = add_all_of_host(&g, err);
        g.only_public = false; /* what is named is given */
        for (size_t i = 0; r == 0 && i < config->n_devices; i++)
                r = add_cri(&g, config->devices[i], err);
        if (r < 0)
                return r;
        add_defaults(&g);
        spec->devices = g.devices;
        spec->n_devices = has_own_dev(config, arena) ? g.n : 0;
        spec->resources.devices = g.rules;
        spec->resources.n_devices = g.n_rules;
        return 0;
}
