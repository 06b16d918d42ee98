/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/cdi.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"

enum { MAX_FILES = 512, MAX_FILE = 1 << 20, MAX_NAME = 256 };

const char *const cdi_folders[] = { "/etc/cdi", "/var/run/cdi", NULL };

struct file {
        const char *name; /* its path */
        const char *kind;
        const struct yaml_node *edits, *devices;
        unsigned folder;
        bool used; /* its own edits are in already */
};

struct files {
        struct file *items;
        size_t n;
        struct arena *arena;
};

const struct yaml_node *cdi_member(const struct yaml_node *map, const char *key) {
        if (!map || map->kind != YAML_MAP)
                return NULL;
        for (const struct yaml_node *n = map->child; n; n = n->next)
                if (str_eq(n->key, key))
                        return n;
        return NULL;
}

static const char *text_of(const struct yaml_node *map, const char *key) {
        const struct yaml_node *n = cdi_member(map, key);

        return n && n->kind == YAML_SCALAR ? n->text : "";
}

static bool has_suffix(const char *name, const char *suffix) {
        size_t n = strlen(name), m = strlen(suffix);

        return n > m && str_eq(name + n - m, suffix);
}

static bool is_known_version(const char *v) {
        static const char *const known[] = { "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0" };

        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (str_eq(v, known[i]))
                        return true;
        return false;
}

static int read_file(struct files *all, int dirfd, const char *path, const char *name, unsigned folder,
                     struct err *err) {
        _cleanup_(freep) char *text = NULL;
        struct file f = { .name = path, .folder = folder };
        struct yaml_node *root = NULL;
        size_t len;
        int r = fs_read_file(dirfd, name, MAX_FILE, &text, &len, err);

        if (r == 0)
                r = yaml_read(path, text, len, all->arena, &root, err);
        if (r < 0)
                return r;
        f.kind = text_of(root, "kind");
        f.edits = cdi_member(root, "containerEdits");
        f.devices = cdi_member(root, "devices");
        if (!is_known_version(text_of(root, "cdiVersion")))
                return err_set(err, ERR_INVALID, "%s: cdiVersion \"%.32s\" is not known", path,
                               text_of(root, "cdiVersion"));
        if (!strchr(f.kind, '/') || strchr(f.kind, '='))
                return err_set(err, ERR_INVALID, "%s: kind \"%.128s\" is not like vendor.com/class", path, f.kind);
        if (!f.devices || f.devices->kind != YAML_LIST)
                return err_set(err, ERR_INVALID, "%s: there is no list of devices", path);
        all->items[all->n++] = f;
        return 0;
}

/* One that can't be read is nobody's concern but of those who ask for its devices, which then are not found. */
static int read_folder(struct files *all, const char *folder, unsigned number, struct err *err) {
        _cleanup_(closedirp) DIR *dir = opendir(folder);
        struct dirent *e;
        struct err why;

        if (!dir)
                return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(err, errno, "read %s", folder);
        while ((e = readdir(dir))) {
                const char *path;

                if (e->d_name[0] == '.' || (!has_suffix(e->d_name, ".json") && !has_suffix(e->d_name, ".yaml")))
                        continue;
                if (all->n == MAX_FILES)
                        return err_set(err, ERR_EXHAUSTED, "more than %d CDI specifications", MAX_FILES);
                path = arena_printf(all->arena, "%s/%s", folder, e->d_name);
                if (read_file(all, dirfd(dir), path, e->d_name, number, &why) < 0)
                        log_warn("a CDI specification can't be used", "error", why.msg, NULL);
        }
        return 0;
}

static const struct yaml_node *find_in(const struct file *f, const char *kind, size_t kind_len, const char *name) {
        if (strlen(f->kind) != kind_len || strncmp(f->kind, kind, kind_len) != 0)
                return NULL;
        for (const struct yaml_node *n = f->devices->child; n; n = n->next)
                if (str_eq(text_of(n, "name"), name))
                        return n;
        return NULL;
}

static int find(const struct files *all, const char *device, struct file **ret, const struct yaml_node **ret_node,
                struct err *err) {
        const char *name = strchr(device, '=');
        const struct file *twice = NULL;

        *ret = NULL;
        if (!name || !name[1] || strlen(device) > MAX_NAME || !memchr(device, '/', (size_t) (name - device)))
                return err_set(err, ERR_INVALID, "CDI device \"%.256s\" is not like vendor.com/class=name", device);
        for (size_t i = 0; i < all->n; i++) {
                const struct yaml_node *n = find_in(&all->items[i], device, (size_t) (name - device), name + 1);

                if (!n)
                        continue;
                twice = *ret && (*ret)->folder == all->items[i].folder ? *ret : NULL;
                *ret = &all->items[i];
                *ret_node = n;
        }
        if (twice)
                return err_set(err, ERR_INVALID, "CDI device %.256s is in %.256s and in %.256s", device, twice->name,
                               (*ret)->name);
        return *ret ? 0 : err_set(err, ERR_INVALID, "CDI device %.256s is in no specification on this node", device);
}

static int add_device(const struct files *all, const char *device, struct cdi_edits *edits, struct err *err) {
        const struct yaml_node *node = NULL;
        struct file *f;
        int r = find(all, device, &f, &node, err);

        if (r < 0)
                return r;
        if (!f->used)
                r = cdi_add_edits(f->name, f->edits, all->arena, edits, err);
        f->used = true;
        if (r == 0)
                r = cdi_add_edits(f->name, cdi_member(node, "containerEdits"), all->arena, edits, err);
        return r < 0 ? err_wrap(err, "CDI device %.256s", device) : 0;
}

int cdi_resolve(const char *const *folders, CRI(CDIDevice) *const *devices, size_t n, struct arena *arena,
                struct cdi_edits *ret, struct err *err) {
        struct files all = { .arena = arena };
        int r = 0;

        *ret = (struct cdi_edits){ 0 };
        if (n == 0)
                return 0;
        if (n > CDI_MAX_DEVICES)
                return err_set(err, ERR_INVALID, "more than %d CDI devices", CDI_MAX_DEVICES);
        ret->env = arena_array(arena, const char *, CDI_MAX_ITEMS + 1);
        ret->nodes = arena_array(arena, struct cdi_node, CDI_MAX_ITEMS);
        ret->mounts = arena_array(arena, struct spec_mount, CDI_MAX_ITEMS);
        ret->gids = arena_array(arena, gid_t, SPEC_MAX_GROUPS);
        for (size_t i = 0; i < SPEC_HOOK_MAX; i++)
                ret->hooks[i] = arena_array(arena, struct spec_hook, CDI_MAX_HOOKS);
        all.items = arena_array(arena, struct file, MAX_FILES);
        for (unsigned i = 0; r == 0 && folders[i]; i++)
                r = read_folder(&all, folders[i], i, err);
        for (size_t i = 0; r == 0 && i < n; i++)
                r = add_device(&all, devices[i]->name, ret, err);
        return r;
}
