/* SPDX-License-Identifier: Apache-2.0 */
/* cdi-edits - "containerEdits" of a CDI specification. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "base/str.h"
#include "pod/cdi.h"
#include "pod/rules.h"
#include "runtime/hooks/hooks.h"

struct reader {
        const char *name; /* of the file */
        struct arena *arena;
        struct cdi_edits *to;
        struct err *err;
};

static int refuse(const struct reader *r, const struct yaml_node *n, const char *what) {
        return err_set(r->err, ERR_INVALID, "%s:%u: %s", r->name, n->line, what);
}

static bool is_null(const struct yaml_node *n) {
        return n->kind == YAML_SCALAR && (str_empty(n->text) || str_eq(n->text, "null") || str_eq(n->text, "~"));
}

static int check_members(const struct reader *r, const struct yaml_node *map, const char *const *known) {
        if (map->kind != YAML_MAP)
                return refuse(r, map, "a mapping was expected");
        for (const struct yaml_node *n = map->child; n; n = n->next) {
                const char *const *k = known;

                while (*k && !str_eq(*k, n->key))
                        k++;
                if (!*k)
                        return err_set(r->err, ERR_INVALID, "%s:%u: \"%.64s\" is not known here", r->name, n->line,
                                       n->key);
        }
        return 0;
}

/* Text, "" when missing. */
static int get_text(const struct reader *r, const struct yaml_node *map, const char *key, const char **ret) {
        const struct yaml_node *n = cdi_member(map, key);

        *ret = "";
        if (!n || is_null(n))
                return 0;
        if (n->kind != YAML_SCALAR)
                return refuse(r, n, "a text was expected");
        *ret = n->text;
        return 0;
}

static int read_number(const struct reader *r, const struct yaml_node *n, int base, uint64_t max, uint64_t *ret) {
        char *end = NULL;

        errno = 0;
        *ret = n->kind == YAML_SCALAR && n->text[0] >= '0' && n->text[0] <= '9' ? strtoull(n->text, &end, base) : 0;
        return !end || *end || errno || *ret > max ? refuse(r, n, "a number was expected, in its limits") : 0;
}

/* @ret_there: is it? */
static int get_number(const struct reader *r, const struct yaml_node *map, const char *key, uint64_t max, uint64_t *ret,
                      bool *ret_there) {
        const struct yaml_node *n = cdi_member(map, key);

        *ret_there = n && !is_null(n);
        *ret = 0;
        return *ret_there ? read_number(r, n, 0, max, ret) : 0;
}

static int get_path(const struct reader *r, const struct yaml_node *map, const char *key, const char **ret) {
        const char *text;
        int res = get_text(r, map, key, &text);

        if (res < 0)
                return res;
        *ret = path_clean(r->arena, text);
        return !*ret || str_eq(*ret, "/") || strlen(*ret) >= PATH_MAX
                       ? err_set(r->err, ERR_INVALID, "%s:%u: %s \"%.128s\" is not an absolute path below /", r->name,
                                 map->line, key, text)
                       : 0;
}

/* --- the parts ---------------------------------------------------------------------------------------------------- */

static int add_env(const struct reader *r, const struct yaml_node *n) {
        if (n->kind != YAML_SCALAR || !strchr(n->text, '=') || n->text[0] == '=')
                return refuse(r, n, "env has an entry that is not like NAME=value");
        if (r->to->n_env == CDI_MAX_ITEMS)
                return refuse(r, n, "too many variables");
        r->to->env[r->to->n_env++] = n->text;
        return 0;
}

/* What the specification doesn't say is as on the host. */
static int take_host_node(const struct reader *r, const struct yaml_node *n, const char *host_path,
                          struct spec_device *d) {
        struct stat st;

        if (stat(host_path, &st) < 0)
                return err_set(r->err, ERR_INVALID, "%s:%u: device %.256s: %s", r->name, n->line, host_path,
                               strerror(errno));
        if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode) && !S_ISFIFO(st.st_mode))
                return err_set(r->err, ERR_INVALID, "%s:%u: %.256s is no device", r->name, n->line, host_path);
        d->type = S_ISCHR(st.st_mode) ? 'c' : S_ISBLK(st.st_mode) ? 'b' : 'p';
        d->major = major(st.st_rdev);
        d->minor = minor(st.st_rdev);
        d->mode = st.st_mode & 07777;
        return 0;
}

static int take_type(const struct reader *r, const struct yaml_node *n, struct spec_device *d) {
        const char *type, *host_path = d->path;
        uint64_t number[2] = { 0 };
        bool there[2] = { false };
        int res = get_text(r, n, "type", &type);

        if (res == 0)
                res = get_number(r, n, "major", 0xfff, &number[0], &there[0]);
        if (res == 0)
                res = get_number(r, n, "minor", 0xfffff, &number[1], &there[1]);
        if (res < 0)
                return res;
        if (*type && !(strlen(type) == 1 && strchr("bcup", *type)))
                return refuse(r, n, "the type of a device is b, c, u or p");
        if (*type && (*type == 'p' || (there[0] && there[1]))) {
                d->type = *type == 'u' ? 'c' : *type;
                d->major = (unsigned) number[0];
                d->minor = (unsigned) number[1];
                d->mode = 0666;
                return 0;
        }
        res = cdi_member(n, "hostPath") ? get_path(r, n, "hostPath", &host_path) : 0;
        return res < 0 ? res : take_host_node(r, n, host_path, d);
}

static int add_node(const struct reader *r, const struct yaml_node *n) {
        static const char *const known[] = { "path",     "hostPath",    "type", "major", "minor",
                                             "fileMode", "permissions", "uid",  "gid",   NULL };
        struct cdi_node node = { 0 };
        uint64_t mode = 0, uid = 0, gid = 0;
        bool has_mode = false;
        int res = check_members(r, n, known);

        if (res == 0)
                res = get_path(r, n, "path", &node.device.path);
        if (res == 0)
                res = take_type(r, n, &node.device);
        if (res == 0)
                res = get_number(r, n, "fileMode", 07777, &mode, &has_mode);
        if (res == 0)
                res = get_number(r, n, "uid", UINT_MAX - 1, &uid, &node.has_uid);
        if (res == 0)
                res = get_number(r, n, "gid", UINT_MAX - 1, &gid, &node.has_gid);
        if (res == 0)
                res = get_text(r, n, "permissions", &node.access);
        if (res < 0)
                return res;
        assert(node.access);
        if (strspn(node.access, "rwm") != strlen(node.access) || strlen(node.access) > 3)
                return refuse(r, n, "the permissions of a device are some of \"rwm\"");
        if (!*node.access)
                node.access = "rwm";
        if (has_mode)
                node.device.mode = (mode_t) mode;
        node.device.uid = (uid_t) uid;
        node.device.gid = (gid_t) gid;
        if (r->to->n_nodes == CDI_MAX_ITEMS)
                return refuse(r, n, "too many device nodes");
        r->to->nodes[r->to->n_nodes++] = node;
        return 0;
}

static int take_option(const struct reader *r, const struct yaml_node *n, struct spec_mount *m) {
        static const struct {
                const char *name;
                unsigned long set, clear;
        } options[] = { { "ro", MS_RDONLY, 0 },
                        { "rw", 0, MS_RDONLY },
                        { "nosuid", MS_NOSUID, 0 },
                        { "suid", 0, MS_NOSUID },
                        { "nodev", MS_NODEV, 0 },
                        { "dev", 0, MS_NODEV },
                        { "noexec", MS_NOEXEC, 0 },
                        { "exec", 0, MS_NOEXEC },
                        { "noatime", MS_NOATIME, 0 },
                        { "relatime", MS_RELATIME, 0 },
                        { "bind", 0, 0 },
                        { "rbind", 0, 0 },
                        { "private", 0, 0 },
                        { "rprivate", 0, 0 } };

        for (size_t i = 0; n->kind == YAML_SCALAR && i < ELEMENTSOF(options); i++)
                if (str_eq(n->text, options[i].name)) {
                        m->flags = (m->flags | options[i].set) & ~options[i].clear;
                        m->recursive |= str_eq(n->text, "rbind");
                        return 0;
                }
        return refuse(r, n, "an option of the mount that can't be done");
}

static int add_mount(const struct reader *r, const struct yaml_node *n) {
        static const char *const known[] = { "hostPath", "containerPath", "type", "options", NULL };
        struct spec_mount m = { .type = "bind", .data = "", .source_fd = -1 };
        const struct yaml_node *options = cdi_member(n, "options");
        const char *type;
        int res = check_members(r, n, known);

        if (res == 0)
                res = get_path(r, n, "hostPath", &m.source);
        if (res == 0)
                res = get_path(r, n, "containerPath", &m.destination);
        if (res == 0)
                res = get_text(r, n, "type", &type);
        if (res < 0)
                return res;
        if (!str_empty(type) && !str_eq(type, "bind") && !str_eq(type, "none"))
                return refuse(r, n, "only bind mounts can be done");
        if (options && !is_null(options) && options->kind != YAML_LIST)
                return refuse(r, options, "a list was expected");
        for (const struct yaml_node *o = options ? options->child : NULL; o && res == 0; o = o->next)
                res = take_option(r, o, &m);
        if (res < 0)
                return res;
        if (r->to->n_mounts == CDI_MAX_ITEMS)
                return refuse(r, n, "too many mounts");
        r->to->mounts[r->to->n_mounts++] = m;
        return 0;
}

static int add_gid(const struct reader *r, const struct yaml_node *n) {
        uint64_t gid;
        int res = read_number(r, n, 10, UINT_MAX - 1, &gid);

        if (res < 0 || gid == 0) /* as the specification has it */
                return res;
        if (r->to->n_gids == SPEC_MAX_GROUPS)
                return refuse(r, n, "too many groups");
        r->to->gids[r->to->n_gids++] = (gid_t) gid;
        return 0;
}

/* --- hooks ---------------------------------------------------------------------------------------------------------
 */

static int take_texts(const struct reader *r, const struct yaml_node *map, const char *key, bool variables,
                      const char *const **ret) {
        const struct yaml_node *list = cdi_member(map, key);
        const char **out;
        size_t n = 0;

        if (list && !is_null(list) && list->kind != YAML_LIST)
                return refuse(r, list, "a list was expected");
        for (const struct yaml_node *c = list ? list->child : NULL; c; c = c->next)
                n++;
        if (n > HOOK_STRINGS_MAX)
                return refuse(r, list, "too many entries");
        out = arena_array(r->arena, const char *, n + 1);
        n = 0;
        for (const struct yaml_node *c = list ? list->child : NULL; c; c = c->next) {
                if (c->kind != YAML_SCALAR)
                        return refuse(r, c, "a text was expected");
                if (variables && (!strchr(c->text, '=') || c->text[0] == '='))
                        return refuse(r, c, "env has an entry that is not like NAME=value");
                out[n++] = c->text;
        }
        *ret = out;
        return 0;
}

static int add_hook(const struct reader *r, const struct yaml_node *n) {
        static const char *const known[] = { "hookName", "path", "args", "env", "timeout", NULL };
        struct spec_hook hook = { 0 };
        enum spec_hook_kind kind;
        const char *name;
        uint64_t timeout = 0;
        bool has_timeout = false;
        int res = check_members(r, n, known);

        if (res == 0)
                res = get_text(r, n, "hookName", &name);
        if (res < 0)
                return res;
        if (!hook_kind_find(name, &kind))
                return err_set(r->err, ERR_INVALID, "%s:%u: there is no kind \"%.64s\" of hooks", r->name, n->line,
                               name);
        res = get_text(r, n, "path", &hook.path);
        if (res == 0 && (hook.path[0] != '/' || strlen(hook.path) >= PATH_MAX))
                res = refuse(r, n, "the path of a hook is not absolute");
        if (res == 0)
                res = take_texts(r, n, "args", false, &hook.args);
        if (res == 0)
                res = take_texts(r, n, "env", true, &hook.env);
        if (res == 0)
                res = get_number(r, n, "timeout", CDI_HOOK_TIMEOUT_MAX_S, &timeout, &has_timeout);
        if (res < 0)
                return res;
        if (has_timeout && timeout == 0)
                return refuse(r, n, "the timeout of a hook is at least a second");
        hook.timeout_ms = (has_timeout ? timeout : CDI_HOOK_TIMEOUT_S) * 1000;
        if (r->to->n_hooks[kind] == CDI_MAX_HOOKS)
                return refuse(r, n, "too many hooks of one kind");
        r->to->hooks[kind][r->to->n_hooks[kind]++] = hook;
        return 0;
}

static int add_list(const struct reader *r, const struct yaml_node *node, const char *key,
                    int (*add)(const struct reader *r, const struct yaml_node *n)) {
        const struct yaml_node *list = cdi_member(node, key);
        int res = 0;

        if (!list || is_null(list))
                return 0;
        if (list->kind != YAML_LIST)
                return refuse(r, list, "a list was expected");
        for (const struct yaml_node *n = list->child; n && res == 0; n = n->next)
                res = add(r, n);
        return res;
}

int cdi_add_edits(const char *name, const struct yaml_node *node, struct arena *arena, struct cdi_edits *edits,
                  struct err *err) {
        static const char *const known[] = { "env",      "deviceNodes", "mounts", "hooks", "additionalGids",
                                             "intelRdt", "netDevices",  NULL };
        static const char *const not_done[] = { "intelRdt", "netDevices" };
        const struct reader r = { .name = name, .arena = arena, .to = edits, .err = err };
        int res;

        if (!node || is_null(node))
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(not_done); i++) {
                const struct yaml_node *n = cdi_member(node, not_done[i]);

                if (n && !is_null(n))
                        return err_set(err, ERR_UNIMPLEMENTED, "%s:%u: %s is not supported", name, n->line,
                                       not_done[i]);
        }
        res = check_members(&r, node, known);
        if (res == 0)
                res = add_list(&r, node, "hooks", add_hook);
        if (res == 0)
                res = add_list(&r, node, "env", add_env);
        if (res == 0)
                res = add_list(&r, node, "deviceNodes", add_node);
        if (res == 0)
                res = add_list(&r, node, "mounts", add_mount);
        return res == 0 ? add_list(&r, node, "additionalGids", add_gid) : res;
}

/* --- into the spec ------------------------------------------------------------------------------------------------ */

static void put_device(struct spec_device *list, size_t *n, const struct spec_device *d) {
        for (size_t i = 0; i < *n; i++)
                if (str_eq(list[i].path, d->path)) {
                        list[i] = *d;
                        return;
                }
        list[(*n)++] = *d;
}

static void apply_nodes(const struct cdi_edits *edits, struct arena *arena, struct spec *spec) {
        struct spec_resources *res = &spec->resources;
        size_t n = spec->n_devices, n_rules = res->n_devices;
        struct spec_device *devices = arena_array(arena, struct spec_device, n + edits->n_nodes);
        struct spec_device_rule *rules = arena_array(arena, struct spec_device_rule, n_rules + edits->n_nodes);
        const struct spec_user *user = &spec->process.user;

        if (n > 0)
                memcpy(devices, spec->devices, n * sizeof(*devices));
        if (n_rules > 0)
                memcpy(rules, res->devices, n_rules * sizeof(*rules));
        for (size_t i = 0; i < edits->n_nodes; i++) {
                const struct cdi_node *node = &edits->nodes[i];
                struct spec_device d = node->device;

                /* Whose it is when nobody says: the user's, else it would be of no use to them. */
                if (!node->has_uid)
                        d.uid = str_empty(user->username) ? user->uid : 0;
                if (!node->has_gid)
                        d.gid = str_empty(user->groupname) && user->has_gid ? user->gid : 0;
                if (spec->n_devices > 0) /* else /dev is somebody's own folder */
                        put_device(devices, &n, &d);
                if (d.type != 'p')
                        rules[n_rules++] = (struct spec_device_rule){ .allow = true,
                                                                      .type = d.type,
                                                                      .major = d.major,
                                                                      .minor = d.minor,
                                                                      .access = node->access };
        }
        spec->devices = devices;
        spec->n_devices = n;
        res->devices = rules;
        res->n_devices = n_rules;
}

int cdi_apply(const struct cdi_edits *edits, struct arena *arena, struct spec *spec, struct err *err) {
        struct spec_user *user = &spec->process.user;
        gid_t *gids;

        for (size_t i = 0; i < SPEC_HOOK_MAX; i++) {
                spec->hooks.list[i] = edits->hooks[i];
                spec->hooks.n[i] = edits->n_hooks[i];
        }
        if (edits->n_nodes > 0)
                apply_nodes(edits, arena, spec);
        if (edits->n_gids == 0)
                return 0;
        if (user->n_additional_gids + edits->n_gids > SPEC_MAX_GROUPS)
                return err_set(err, ERR_INVALID, "more than %d groups, with those of CDI devices", SPEC_MAX_GROUPS);
        gids = arena_array(arena, gid_t, user->n_additional_gids + edits->n_gids);
        if (user->n_additional_gids > 0)
                memcpy(gids, user->additional_gids, user->n_additional_gids * sizeof(*gids));
        memcpy(gids + user->n_additional_gids, edits->gids, edits->n_gids * sizeof(*gids));
        user->additional_gids = gids;
        user->n_additional_gids += edits->n_gids;
        return 0;
}
