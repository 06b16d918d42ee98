/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/criu-mounts.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "init/path.h"

enum { MOUNTINFO_MAX = 64 << 20, MOUNTS_MAX = 10000 };

/* A line of /proc/PID/mountinfo. */
struct row {
        uint64_t id;
        const char *device, *root, *target, *type;
        const char *name; /* of config.json's; NULL: no bind of its */
};
struct rows {
        struct row *list;
        size_t n;
};

/* "\040" -> " ", in place. */
static void unescape(char *s) {
        char *out = s;

        for (; *s; s++) {
                if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
                    s[3] <= '7') {
                        *out++ = (char) ((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
                        s += 3;
                } else
                        *out++ = *s;
        }
        *out = '\0';
}

static bool parse_row(char *line, struct row *ret) {
        char *fields[5], *save = NULL, *type;
        size_t n = 0;

        type = strstr(line, " - ");
        if (!type)
                return false;
        *type = '\0';
        type += 3;
        type[strcspn(type, " ")] = '\0';
        for (char *f = strtok_r(line, " ", &save); f && n < ELEMENTSOF(fields); f = strtok_r(NULL, " ", &save))
                fields[n++] = f;
        if (n < ELEMENTSOF(fields) || !str_to_u64(fields[0], &ret->id))
                return false;
        unescape(fields[3]);
        unescape(fields[4]);
        ret->device = fields[2];
        ret->root = fields[3];
        ret->target = fields[4];
        ret->type = type;
        return true;
}

static int read_rows(pid_t pid, struct arena *arena, struct rows *ret, struct err *err) {
        _cleanup_(freep) char *text = NULL;
        char path[64], *save = NULL, *copy;
        size_t len;
        int r;

        (void) snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int) pid);
        r = fs_read_file(AT_FDCWD, path, MOUNTINFO_MAX, &text, &len, err);
        if (r < 0)
                return r;
        copy = arena_strdup(arena, text);
        ret->list = arena_array(arena, struct row, MOUNTS_MAX);
        for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                if (ret->n == MOUNTS_MAX)
                        return err_set(err, ERR_EXHAUSTED, "the container has more than %d mounts", MOUNTS_MAX);
                ret->n += parse_row(line, ret->list + ret->n);
        }
        return 0;
}

/* --- recursive binds ------------------------------------------------------------------------------------------ */

/* What is mounted below the source of a recursive bind came with it: it is the host's, too. */

static const char *source_of(const struct spec_mount *m, struct arena *arena) {
        char path[PATH_MAX];

        return str_eq(m->type, "bind") && m->recursive && realpath(m->source, path) ? arena_strdup(arena, path) : NULL;
}

/* What follows @folder in a path below it, with its slash; NULL: it is not below. */
static const char *rest_below(const char *path, const char *folder) {
        const char *rest = str_eq(folder, "/") ? path : str_after(path, folder);

        return rest && rest[0] == '/' && rest[1] ? rest : NULL;
}

/* Has the host the same at the same place below the source of @m? The container may have mounted something there. */
static bool is_of_host(const struct rows *host, const struct row *row, const char *target) {
        for (size_t i = 0; i < host->n; i++)
                if (str_eq(host->list[i].target, target) && str_eq(host->list[i].device, row->device) &&
                    str_eq(host->list[i].root, row->root))
                        return true;
        return false;
}

static void name_below(const struct spec_mount *m, const struct rows *host, struct arena *arena, struct rows *rows) {
        const char *source = source_of(m, arena);

        for (size_t i = 0; source && i < rows->n; i++) {
                struct row *row = rows->list + i;
                const char *rest = rest_below(row->target, m->destination);

                if (rest && !row->name &&
                    is_of_host(host, row, arena_printf(arena, "%s%s", str_eq(source, "/") ? "" : source, rest)))
                        row->name = row->target;
        }
}

/* @pairs may be NULL; how many there are. */
static size_t add_below(const struct spec_mount *m, const struct rows *host, struct arena *arena,
                        struct criu_pair *pairs) {
        const char *source = source_of(m, arena), *rest;
        size_t n = 0;

        for (size_t i = 0; source && i < host->n; i++) {
                rest = rest_below(host->list[i].target, source);
                if (rest && pairs)
                        pairs[n] = (struct criu_pair){ arena_printf(arena, "%s%s", m->destination, rest),
                                                       host->list[i].target };
                n += rest != NULL;
        }
        return n;
}

/* --- of a running container ----------------------------------------------------------------------------------- */

static void name_bind(int root_fd, const struct spec_mount *m, struct rows *rows) {
        _cleanup_(fd_closep) int fd = fs_open_in_root(root_fd, m->destination, O_PATH, 0);
        struct statx st;

        if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0 ||
            !(st.stx_attributes & STATX_ATTR_MOUNT_ROOT))
                return; /* the container has unmounted it */
        for (size_t i = 0; i < rows->n; i++)
                if (rows->list[i].id == st.stx_mnt_id)
                        rows->list[i].name = m->destination;
}

/* Does the container have the whole file system of which @row is a part? Then CRIU finds the part in there. */
static bool has_whole(const struct rows *rows, const struct row *row) {
        for (size_t i = 0; i < rows->n; i++)
                if (str_eq(rows->list[i].device, row->device) && str_eq(rows->list[i].root, "/"))
                        return true;
        return false;
}

static bool is_external(const struct rows *rows, const struct row *row) {
        if (str_eq(row->target, "/"))
                return false;
        return row->name || str_eq(row->type, "cgroup") || str_eq(row->type, "cgroup2") || !has_whole(rows, row);
}

int criu_mounts_of_process(pid_t pid, const struct oci_config *config, struct arena *arena,
                           const struct criu_pair **ret, size_t *ret_n, struct err *err) {
        _cleanup_(fd_closep) int root_fd = -1;
        struct rows rows = { 0 }, host = { 0 };
        struct criu_pair *pairs;
        char path[64];
        int r = read_rows(pid, arena, &rows, err);

        if (r == 0)
                r = read_rows(getpid(), arena, &host, err);
        if (r < 0)
                return r;
        (void) snprintf(path, sizeof(path), "/proc/%d/root", (int) pid);
        root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root_fd < 0)
                return err_sys(err, errno, "open the container's root");
        for (size_t i = 0; i < config->spec.n_mounts; i++)
                if (str_eq(config->spec.mounts[i].type, "bind"))
                        name_bind(root_fd, config->spec.mounts + i, &rows);
        for (size_t i = 0; i < config->spec.n_mounts; i++)
                name_below(config->spec.mounts + i, &host, arena, &rows);
        pairs = arena_array(arena, struct criu_pair, rows.n);
        *ret_n = 0;
        for (size_t i = 0; i < rows.n; i++) {
                const struct row *row = rows.list + i;

                if (is_external(&rows, row))
                        pairs[(*ret_n)++] = (struct criu_pair){ row->target, row->name ?: row->target };
        }
        *ret = pairs;
        return 0;
}

/* --- of one to be restored ------------------------------------------------------------------------------------ */

static const char *const default_devices[] = { "/dev/null",   "/dev/zero",    "/dev/full",
                                               "/dev/random", "/dev/urandom", "/dev/tty" };

/* What the container sees of cgroup v2 is its own group; of v1 a folder for each hierarchy. */
static size_t add_cgroups(const struct spec_mount *m, const struct oci_config *config, struct cgroups *cgroups,
                          struct arena *arena, struct criu_pair *pairs) {
        struct cgroup_folder folders[CGROUP_MAX_DOORS];
        size_t n = cgroup_list_folders(cgroups, config->spec.cgroup_path, arena, folders);

        if (cgroups_mode(cgroups) == CGROUP_V2) {
                pairs[0] = (struct criu_pair){ m->destination, folders[0].path };
                return 1;
        }
        for (size_t i = 0; i < n; i++)
                pairs[i] =
                        (struct criu_pair){ arena_printf(arena, "%s%s", m->destination, strrchr(folders[i].mount, '/')),
                                            folders[i].path };
        return n;
}

int criu_mounts_of_config(const struct oci_config *config, struct cgroups *cgroups, struct arena *arena,
                          const struct criu_pair **ret, size_t *ret_n, struct err *err) {
        const struct spec *spec = &config->spec;
        struct rows host = { 0 };
        struct criu_pair *pairs;
        size_t n = 0, below = 0, masked = 0;
        int r = read_rows(getpid(), arena, &host, err);

        if (r < 0)
                return r;
        for (size_t i = 0; i < spec->n_mounts; i++)
                below += add_below(spec->mounts + i, &host, arena, NULL);
        if (below > MOUNTS_MAX)
                return err_set(err, ERR_EXHAUSTED, "below the recursive binds are more than %d mounts", MOUNTS_MAX);
        while (spec->masked_paths[masked])
                masked++;
        pairs = arena_array(arena, struct criu_pair,
                            spec->n_mounts * CGROUP_MAX_DOORS + below + spec->n_devices + masked +
                                    ELEMENTSOF(default_devices));
        for (size_t i = 0; i < spec->n_mounts; i++) {
                const struct spec_mount *m = spec->mounts + i;

                if (str_eq(m->type, "bind"))
                        pairs[n++] = (struct criu_pair){ m->destination, m->source };
                else if (str_eq(m->type, "cgroup"))
                        n += add_cgroups(m, config, cgroups, arena, pairs + n);
                n += add_below(m, &host, arena, pairs + n);
        }
        /* Where they can't be made, in a user namespace, devices are the host's; also the one that masks files. */
        for (size_t i = 0; i < spec->n_devices; i++)
                pairs[n++] = (struct criu_pair){ spec->devices[i].path, spec->devices[i].path };
        for (const char *const *path = spec->masked_paths; *path; path++)
                pairs[n++] = (struct criu_pair){ *path, "/dev/null" };
        for (size_t i = 0; i < ELEMENTSOF(default_devices); i++)
                pairs[n++] = (struct criu_pair){ default_devices[i], default_devices[i] };
        *ret = pairs;
        *ret_n = n;
        return 0;
}

/* Is @path below what an earlier mount covers? Then it comes with that. */
static bool is_below(const struct spec *spec, size_t n, const char *path) {
        for (size_t i = 0; i < n; i++) {
                const char *rest = str_after(path, spec->mounts[i].destination);

                if (rest && *rest == '/')
                        return true;
        }
        return false;
}

int criu_mounts_make_targets(const struct oci_config *config, struct err *err) {
        _cleanup_(fd_closep) int root_fd = open(config->root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        const struct spec *spec = &config->spec;

        if (root_fd < 0)
                return err_sys(err, errno, "open the root file system %s", config->root_path);
        for (size_t i = 0; i < spec->n_mounts; i++) {
                const struct spec_mount *m = spec->mounts + i;
                enum path_kind kind = PATH_DIR;
                struct stat st;
                int fd;

                if (is_below(spec, i, m->destination))
                        continue;
                if (str_eq(m->type, "bind") && stat(m->source, &st) == 0 && !S_ISDIR(st.st_mode))
                        kind = PATH_FILE;
                fd = path_ensure(root_fd, m->destination, kind, 0755, NULL);
                if (fd < 0)
                        return err_sys(err, -fd, "make %s in the root file system, to mount on", m->destination);
                (void) fd_close(fd);
        }
        return 0;
}
