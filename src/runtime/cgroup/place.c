/* SPDX-License-Identifier: Apache-2.0 */
/* place - which group a bundle's linux.cgroupsPath means. As runc has it: with cgroupfs an absolute path is below the
 * mount, another one, or none (then it is the container's id), is below the group of the caller; on v2, where a group
 * with processes has no limited groups below it, beside that. With systemd it is "slice:prefix:name". */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "base/fs.h"
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum { OWN_TEXT_MAX = 1 << 16 };

/* Adds the components of @path to @out (as long as GROUP_PATH_MAX + 1), none of them empty or "."; ".." goes up, never
 * above @floor. False: too long. */
static bool add_clean(char *out, size_t floor, const char *path) {
        size_t n = strlen(out);

        while (*path) {
                size_t len = strcspn(path, "/");

                if (len == 2 && path[0] == '.' && path[1] == '.') {
                        while (n > floor && out[--n] != '/')
                                ;
                } else if (len > 0 && !(len == 1 && path[0] == '.')) {
                        if (n + 1 + len > GROUP_PATH_MAX)
                                return false;
                        out[n++] = '/';
                        memcpy(out + n, path, len);
                        n += len;
                }
                path += len + (path[len] == '/');
                out[n] = '\0';
        }
        out[n] = '\0';
        return true;
}

/* The group that relative paths start from. We have one path for all hierarchies: where the caller is at different
 * places, the deepest is taken, whose limits then hold. */
static int own_base(struct cgroups *c, char out[GROUP_PATH_MAX + 1], struct err *err) {
        _cleanup_(freep) char *text = NULL;
        size_t best = 0;
        int r = fs_read_file(AT_FDCWD, "/proc/self/cgroup", OWN_TEXT_MAX, &text, NULL, err);

        if (r < 0)
                return r;
        out[0] = '\0';
        for (size_t h = 0; h < c->n; h++) {
                size_t len = 0;
                const char *own = own_path_in(&c->hiers[h], text, &len);

                if (!own || len <= best || len <= 1)
                        continue;
                if (len > GROUP_PATH_MAX || strncmp(own, "/..", 3) == 0)
                        return err_set(err, ERR_PRECONDITION,
                                       "our own control group, %.*s, is outside of what is mounted: give an absolute "
                                       "cgroupsPath",
                                       (int) MIN_OF(len, 200U), own);
                best = len;
                memcpy(out, own, len);
                out[len] = '\0';
        }
        if (c->mode == CGROUP_V2 && best > 0)
                *strrchr(out, '/') = '\0';
        return 0;
}

static int place_cgroupfs(struct cgroups *c, const char *cgroups_path, const char *id, struct arena *arena,
                          struct cgroup_place *ret, struct err *err) {
        char path[GROUP_PATH_MAX + 1] = "";
        int r = 0;

        if (str_empty(cgroups_path))
                cgroups_path = id;
        if (cgroups_path[0] != '/')
                r = own_base(c, path, err);
        if (r < 0)
                return r;
        if (!add_clean(path, strlen(path), cgroups_path))
                return err_set(err, ERR_INVALID, "linux.cgroupsPath is longer than %d bytes", GROUP_PATH_MAX);
        r = path_check(path, err);
        if (r < 0)
                return err_wrap(err, "linux.cgroupsPath");
        *ret = (struct cgroup_place){ .path = arena_strdup(arena, path) };
        return 0;
}

/* Of "a-b.slice" it is "/a.slice/a-b.slice"; of "-.slice" "". */
int slice_expand(const char *slice, char out[GROUP_PATH_MAX + 1], struct err *err) {
        size_t len = strlen(slice), n = 0, end;

        out[0] = '\0';
        if (!str_ends_with(slice, ".slice") || len == strlen(".slice") || len > 255 || strchr(slice, '/'))
                return err_set(err, ERR_INVALID, "invalid slice name: %.300s", slice);
        if (str_eq(slice, "-.slice"))
                return 0;
        end = len - strlen(".slice");
        for (size_t i = 0; i <= end; i++) {
                if (i < end && slice[i] != '-')
                        continue;
                /* "a--b.slice" and "-a.slice" are none. */
                if (i == 0 || slice[i - 1] == '-')
                        return err_set(err, ERR_INVALID, "invalid slice name: %.300s", slice);
                if (n + 1 + i + strlen(".slice") > GROUP_PATH_MAX)
                        return err_set(err, ERR_INVALID, "slice name is nested too deep: %.300s", slice);
                n += (size_t) snprintf(out + n, GROUP_PATH_MAX + 1 - n, "/%.*s.slice", (int) i, slice);
        }
        return 0;
}

static int place_systemd(const char *cgroups_path, const char *id, struct arena *arena, struct cgroup_place *ret,
                         struct err *err) {
        const char *slice = "system.slice", *prefix = "runc", *name = id;
        char path[GROUP_PATH_MAX + 1];
        int r;

        if (!str_empty(cgroups_path)) {
                const char *first = strchr(cgroups_path, ':'), *second = first ? strchr(first + 1, ':') : NULL;

                if (!second || strchr(second + 1, ':'))
                        return err_set(err, ERR_INVALID,
                                       "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd "
                                       "cgroups, got \"%.300s\" instead",
                                       cgroups_path);
                if (first > cgroups_path)
                        slice = arena_strndup(arena, cgroups_path, (size_t) (first - cgroups_path));
                prefix = arena_strndup(arena, first + 1, (size_t) (second - first - 1));
                name = second + 1;
        }
        r = slice_expand(slice, path, err);
        if (r < 0)
                return r;
        ret->slice = slice;
        ret->unit = str_ends_with(name, ".slice") ? arena_strdup(arena, name)
                                                  : arena_printf(arena, "%s-%s.scope", prefix, name);
        ret->path = arena_printf(arena, "%s/%s", path, ret->unit);
        if (strlen(ret->unit) > 255 || strchr(ret->unit, '/') || path_check(ret->path, err) < 0)
                return err_set(err, ERR_INVALID, "linux.cgroupsPath: \"%.260s\" is no name of a unit", ret->unit);
        return 0;
}

int cgroup_place_find(struct cgroups *c, const char *cgroups_path, const char *id, bool systemd, struct arena *arena,
                      struct cgroup_place *ret, struct err *err) {
        *ret = (struct cgroup_place){ 0 };
        return systemd ? place_systemd(cgroups_path, id, arena, ret, err)
                       : place_cgroupfs(c, cgroups_path, id, arena, ret, err);
}

size_t cgroup_list_folders(const struct cgroups *c, const char *path, struct arena *arena,
                           struct cgroup_folder ret[CGROUP_MAX_DOORS]) {
        const int freezer = c->of[CTL_FREEZER] >= 0 ? c->of[CTL_FREEZER] : c->unified;
        size_t n = 0;

        for (int pass = 0; pass < 2; pass++)
                for (int i = 0; i < (int) c->n; i++)
                        if (c->hiers[i].v2 == (pass == 0))
                                ret[n++] = (struct cgroup_folder){ c->hiers[i].mount,
                                                                   arena_printf(arena, "%s%s", c->hiers[i].mount, path),
                                                                   i == freezer };
        return n;
}
