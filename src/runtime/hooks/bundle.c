/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/hooks/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/hooks/hooks.h"

enum { CONFIG_MAX = 16 << 20, VALUES_MAX = 1 << 18 };

/* Variables of the container's may be anything; hooks look for those of their devices. */
static json_t *environment(const char *const *list) {
        json_t *j = json_array();

        for (; j && list && *list; list++)
                (void) !json_array_append_new(j, json_string(*list));
        return j;
}

static json_t *process(const struct spec_process *p) {
        json_t *user = json_pack("{s:I, s:I}", "uid", (json_int_t) p->user.uid, "gid", (json_int_t) p->user.gid);

        if (user && !str_empty(p->user.username))
                (void) !json_object_set_new(user, "username", json_string(p->user.username));
        return json_pack("{s:b, s:o, s:o, s:o, s:s, s:b}", "terminal", p->terminal, "user", user, "args",
                         json_from_strings(p->args), "env", environment(p->env), "cwd", p->cwd ? p->cwd : "/",
                         "noNewPrivileges", p->no_new_privs);
}

static json_t *mount_options(const struct spec_mount *m) {
        json_t *j = json_array();
        bool bind = str_eq(m->type, "bind");

        if (bind)
                (void) !json_array_append_new(j, json_string(m->recursive ? "rbind" : "bind"));
        (void) !json_array_append_new(j, json_string(m->flags & MS_RDONLY ? "ro" : "rw"));
        if (m->flags & MS_NOSUID)
                (void) !json_array_append_new(j, json_string("nosuid"));
        if (m->flags & MS_NODEV)
                (void) !json_array_append_new(j, json_string("nodev"));
        if (m->flags & MS_NOEXEC)
                (void) !json_array_append_new(j, json_string("noexec"));
        if (!str_empty(m->data))
                (void) !json_array_append_new(j, json_string(m->data));
        return j;
}

static json_t *mounts(const struct spec *spec) {
        json_t *list = json_array();

        for (size_t i = 0; list && i < spec->n_mounts; i++) {
                const struct spec_mount *m = &spec->mounts[i];

                /* One that is not text can't be told, and is no device's. */
                (void) !json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "destination", m->destination,
                                                              "type", m->type, "source", m->source ? m->source : "",
                                                              "options", mount_options(m)));
        }
        return list;
}

static json_t *annotations(const struct spec *spec) {
        json_t *j = json_object();

        for (size_t i = 0; j && i < spec->n_annotations; i++)
                if (json_object_set_new(j, spec->annotations[i].key, json_string(spec->annotations[i].value)) < 0)
                        return json_unref(j);
        return j;
}

static char *config_text(const struct spec *spec, const char *root) {
        _cleanup_(json_unrefp) json_t *j =
                json_pack("{s:s, s:{s:s, s:b}, s:o, s:o, s:o, s:o, s:{s:s}}", "ociVersion", SPEC_OCI_VERSION, "root",
                          "path", root, "readonly", spec->readonly_rootfs, "process", process(&spec->process), "mounts",
                          mounts(spec), "hooks", hooks_to_json(&spec->hooks), "annotations", annotations(spec), "linux",
                          "cgroupsPath", spec->cgroup_path ? spec->cgroup_path : "");

        return j ? json_dumps(j, JSON_COMPACT) : NULL;
}

static int open_folder(const char *parent, int *ret, struct err *err) {
        *ret = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return *ret < 0 ? err_sys(err, errno, "open %s", parent) : 0;
}

/* Hooks of createContainer are root of the container's user namespace only. */
static int give(int fd, const char *name, const struct spec *spec) {
        uint32_t uid, gid;

        if (!SPEC_HAS_USER_NS(spec) || !id_map_find(spec->user_ids.uids, spec->user_ids.n_uids, 0, &uid) ||
            !id_map_find(spec->user_ids.gids, spec->user_ids.n_gids, 0, &gid))
                return 0;
        return fchownat(fd, name, uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int bundle_write(const char *parent, const struct spec *spec, const char *root, struct err *err) {
        _cleanup_(fd_closep) int parent_fd = -1, fd = -1;
        _cleanup_(freep) char *text = config_text(spec, root);
        int r;

        if (!text)
                return err_set(
                        err, ERR_INVALID,
                        "the container has hooks, but its arguments, annotations or hooks are not UTF-8, as their "
                        "config.json must be");
        r = open_folder(parent, &parent_fd, err);
        if (r < 0)
                return r;
        if (mkdirat(parent_fd, spec->id, 0700) < 0 && errno != EEXIST)
                return err_sys(err, errno, "make the bundle %s/%s", parent, spec->id);
        fd = openat(parent_fd, spec->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return err_sys(err, errno, "open the bundle %s/%s", parent, spec->id);
        r = fs_write_atomic(fd, "config.json", text, strlen(text), 0600, false, err);
        if (r < 0)
                return r;
        r = give(fd, "config.json", spec);
        if (r == 0)
                r = give(fd, "", spec);
        return r < 0 ? err_sys(err, -r, "give the bundle %s/%s to the container's root", parent, spec->id) : 0;
}

static int read_annotations(json_t *object, struct arena *arena, struct spec *ret) {
        struct spec_pair *list = arena_array(arena, struct spec_pair, json_object_size(object) + 1);
        const char *key;
        json_t *value;

        ret->annotations = list;
        ret->n_annotations = 0;
        json_object_foreach(object, key, value) {
                const char *text = json_string_value(value);

                list[ret->n_annotations++] =
                        (struct spec_pair){ arena_strdup(arena, key), arena_strdup(arena, text ? text : "") };
        }
        return 0;
}

int bundle_read(const char *parent, const char *id, struct arena *arena, struct spec *ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *j = NULL;
        _cleanup_(freep) char *text = NULL;
        const char *path = arena_printf(arena, "%s/%s/config.json", parent, id);
        size_t len;
        int r;

        ret->hooks = (struct spec_hooks){ 0 };
        ret->annotations = NULL;
        ret->n_annotations = 0;
        r = fs_read_file(AT_FDCWD, path, CONFIG_MAX, &text, &len, err);
        if (r < 0)
                return err->sys_errno == ENOENT ? 0 : r;
        r = json_load_bounded(text, len, VALUES_MAX, path, &j, err);
        if (r == 0)
                r = hooks_from_json(json_object_get(j, "hooks"), arena, &ret->hooks, err);
        return r < 0 ? r : read_annotations(json_object_get(j, "annotations"), arena, ret);
}

int bundle_remove(const char *parent, const char *id, struct err *err) {
        _cleanup_(fd_closep) int fd = -1;
        int r = open_folder(parent, &fd, err);

        return r < 0 ? r : fs_remove_tree(fd, id, err);
}
