/* SPDX-License-Identifier: Apache-2.0 */
/* cni-conf - see cni-conf.h. */
#include "net/cni-conf.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"

enum { FILES_MAX = 1000 };

static const char *const versions[] = { "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };

const char *cni_version(const char *text) {
        for (size_t i = 0; i < ELEMENTSOF(versions); i++)
                if (str_eq(versions[i], text))
                        return versions[i];
        return NULL;
}

static int version_rank(const char *v) {
        for (size_t i = 0; i < ELEMENTSOF(versions); i++)
                if (str_eq(versions[i], v))
                        return (int) i;
        return -1;
}

int cni_version_compare(const char *a, const char *b) {
        return version_rank(a) - version_rank(b);
}

struct cni_conf *cni_conf_free(struct cni_conf *c) {
        if (!c)
                return NULL;
        json_decref(c->plugins);
        free(c->name);
        free(c->file);
        free(c);
        return NULL;
}

static bool name_is_valid(const char *s) {
        if (!s || !isalnum((unsigned char) s[0]) || strnlen(s, CNI_NAME_MAX + 1) > CNI_NAME_MAX)
                return false;
        for (; *s; s++)
                if (!isalnum((unsigned char) *s) && !strchr("_.-", *s))
                        return false;
        return true;
}

/* A file name in one of the plug-in folders, nothing that leads elsewhere. */
static bool type_is_valid(const char *s) {
        if (str_empty(s) || s[0] == '.' || strlen(s) > NAME_MAX)
                return false;
        for (; *s; s++)
                if (*s == '/' || iscntrl((unsigned char) *s))
                        return false;
        return true;
}

static int check_plugin(const json_t *p, size_t i, struct err *err) {
        const json_t *caps = json_object_get(p, "capabilities"), *ipam = json_object_get(p, "ipam"), *v;
        const char *type = json_string_value(json_object_get(p, "type")), *key;

        if (!json_is_object(p))
                return err_set(err, ERR_INVALID, "plug-in %zu is not an object", i + 1);
        if (!type_is_valid(type))
                return err_set(err, ERR_INVALID, "plug-in %zu has no \"type\" that is a plain file name", i + 1);
        if (caps && !json_is_null(caps) && !json_is_object(caps))
                return err_set(err, ERR_INVALID, "plug-in %s: \"capabilities\" is not an object", type);
        json_object_foreach((json_t *) (uintptr_t) caps, key, v) if (!json_is_boolean(v)) return err_set(
                err, ERR_INVALID, "plug-in %s: capability %.80s is neither true nor false", type, key);
        v = json_object_get(ipam, "type");
        if (v && (!json_is_string(v) || (json_string_length(v) > 0 && !type_is_valid(json_string_value(v)))))
                return err_set(err, ERR_INVALID, "plug-in %s: \"ipam.type\" is not a plain file name", type);
        return 0;
}

static int add_plugin(struct cni_conf *c, json_t *p, struct err *err) {
        int r = check_plugin(p, json_array_size(c->plugins), err);

        if (r < 0)
                return r;
        if (json_array_size(c->plugins) >= CNI_PLUGINS_MAX)
                return err_set(err, ERR_INVALID, "more than %d plug-ins", CNI_PLUGINS_MAX);
        if (json_array_append(c->plugins, p) < 0)
                abort();
        return 0;
}

/* The highest of "cniVersion" and "cniVersions" that we know; none given is 0.1.0, as it is to plug-ins. */
static int choose_version(const json_t *o, const char **ret, struct err *err) {
        const json_t *one = json_object_get(o, "cniVersion"), *many = json_object_get(o, "cniVersions"), *v;
        const char *best = NULL, *seen = NULL, *known;
        size_t i;

        if ((one && !json_is_string(one)) || (many && !json_is_array(many)))
                return err_set(err, ERR_INVALID, "\"cniVersion\" is not a string, or \"cniVersions\" not a list");
        if (one && json_string_length(one) > 0)
                best = cni_version(seen = json_string_value(one));
        json_array_foreach(many, i, v) {
                if (!json_is_string(v))
                        return err_set(err, ERR_INVALID, "\"cniVersions\" holds something that is not a string");
                known = cni_version(seen = json_string_value(v));
                if (known && (!best || cni_version_compare(known, best) > 0))
                        best = known;
        }
        if (seen && !best)
                return err_set(err, ERR_INVALID, "it needs CNI version %.40s; known are %s to %s", seen, versions[0],
                               versions[ELEMENTSOF(versions) - 1]);
        *ret = best ?: versions[0];
        return 0;
}

int cni_conf_from_json(const json_t *list, struct cni_conf **ret, struct err *err) {
        _cleanup_(cni_conf_freep) struct cni_conf *c = xnew(struct cni_conf);
        const json_t *plugins = json_object_get(list, "plugins");
        const char *name = json_string_value(json_object_get(list, "name"));
        json_t *p;
        size_t i;
        int r;

        c->plugins = json_array();
        if (!name_is_valid(name))
                return err_set(err, ERR_INVALID,
                               "\"name\" is missing or not made of letters, digits, '_', '.' and '-'");
        c->name = xstrdup(name);
        c->inlined_only = json_is_true(json_object_get(list, "loadOnlyInlinedPlugins"));
        r = choose_version(list, &c->version, err);
        if (r < 0)
                return r;
        if (plugins && !json_is_array(plugins))
                return err_set(err, ERR_INVALID, "\"plugins\" is not a list");
        json_array_foreach((json_t *) (uintptr_t) plugins, i, p) {
                r = add_plugin(c, p, err);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(c);
        return 0;
}

/* A single plug-in's file is a list of one. */
static json_t *as_list(json_t *single) {
        json_t *list = json_pack("{s:[O]}", "plugins", single);

        for (const char *const *k = (const char *const[]){ "name", "cniVersion", "cniVersions", NULL }; *k; k++)
                if (json_object_get(single, *k))
                        (void) json_object_set(list, *k, json_object_get(single, *k));
        return list;
}

int cni_conf_parse(const char *text, size_t len, bool may_be_single, struct cni_conf **ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *o = NULL, *list = NULL;
        int r;

        r = json_load_bounded(text, len, CNI_CONF_MAX_VALUES, "it", &o, err);
        if (r < 0)
                return r;
        if (may_be_single && !json_object_get(o, "plugins"))
                list = as_list(o);
        return cni_conf_from_json(list ?: o, ret, err);
}

json_t *cni_conf_to_json(const struct cni_conf *c) {
        return json_pack("{s:s, s:s, s:O, s:b}", "cniVersion", c->version, "name", c->name, "plugins", c->plugins,
                         "loadOnlyInlinedPlugins", 1);
}

/* --- the folder -----------------------------------------------------------------------------------------------------
 */

static int is_conf(const struct dirent *e) {
        return e->d_name[0] != '.' && (str_ends_with(e->d_name, ".conflist") || str_ends_with(e->d_name, ".conf") ||
                                       str_ends_with(e->d_name, ".json"));
}

static int is_plugin_conf(const struct dirent *e) {
        return e->d_name[0] != '.' && str_ends_with(e->d_name, ".conf");
}

static int by_name(const struct dirent **a, const struct dirent **b) {
        return strcmp((*a)->d_name, (*b)->d_name);
}

static void free_names(struct dirent **names, int n) {
        for (int i = 0; i < n; i++)
                free(names[i]);
        free(names);
}

/* Plug-ins of their own files, in the folder beside the list that has its name. */
static int load_extra(struct cni_conf *c, const char *dir, struct err *err) {
        struct dirent **names = NULL;
        char path[PATH_MAX];
        int n, r = 0;

        if (c->inlined_only || snprintf(path, sizeof(path), "%s/%s", dir, c->name) >= (int) sizeof(path))
                return 0;
        n = scandir(path, &names, is_plugin_conf, by_name);
        if (n < 0 && (errno == ENOENT || errno == ENOTDIR))
                return 0;
        if (n < 0)
                return err_sys(err, errno, "list %s", path);
        for (int i = 0; i < n && r == 0; i++) {
                _cleanup_(json_unrefp) json_t *p = NULL;
                _cleanup_(freep) char *text = NULL;
                size_t len;

                if (snprintf(path, sizeof(path), "%s/%s/%s", dir, c->name, names[i]->d_name) >= (int) sizeof(path)) {
                        r = err_sys(err, ENAMETOOLONG, "read %s", names[i]->d_name);
                        break;
                }
                r = fs_read_file(AT_FDCWD, path, CNI_CONF_MAX_BYTES, &text, &len, err);
                if (r == 0)
                        r = json_load_bounded(text, len, CNI_CONF_MAX_VALUES, "it", &p, err);
                if (r == 0)
                        r = add_plugin(c, p, err);
                if (r < 0)
                        r = err_wrap(err, "%s", path);
        }
        free_names(names, n);
        return r;
}

static int load_file(const char *dir, const char *name, struct cni_conf **ret, struct err *err) {
        _cleanup_(cni_conf_freep) struct cni_conf *c = NULL;
        _cleanup_(freep) char *text = NULL;
        char path[PATH_MAX];
        size_t len;
        int r;

        if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int) sizeof(path))
                return err_sys(err, ENAMETOOLONG, "read %s", name);
        r = fs_read_file(AT_FDCWD, path, CNI_CONF_MAX_BYTES, &text, &len, err);
        if (r == 0)
                r = cni_conf_parse(text, len, !str_ends_with(name, ".conflist"), &c, err);
        if (r == 0)
                r = load_extra(c, dir, err);
        if (r == 0 && json_array_size(c->plugins) == 0)
                r = err_set(err, ERR_INVALID, "it names no plug-in");
        if (r != 0)
                return err_wrap(err, "network configuration %s", path);
        c->file = xstrdup(path);
        *ret = TAKE_PTR(c);
        return 0;
}

int cni_conf_load(const char *dir, struct cni_conf **ret, bool *ret_none, struct err *err) {
        struct dirent **names = NULL;
        int n, r;

        *ret_none = false;
        n = scandir(dir, &names, is_conf, by_name);
        if (n < 0 && errno != ENOENT)
                r = err_sys(err, errno, "list %s", dir);
        else if (n <= 0) {
                *ret_none = true;
                r = err_set(err, ERR_PRECONDITION, "no network configuration in %s: install a CNI network add-on", dir);
        } else if (n > FILES_MAX)
                r = err_set(err, ERR_PRECONDITION, "more than %d network configurations in %s", FILES_MAX, dir);
        else
                r = load_file(dir, names[0]->d_name, ret, err);
        free_names(names, n);
        if (r < 0)
                err->code = ERR_PRECONDITION;
        return r < 0 ? -ERR_PRECONDITION : 0;
}

int cni_conf_has_others(const char *dir, const char *name, bool *ret, struct err *err) {
        struct dirent **names = NULL;
        int n = scandir(dir, &names, is_conf, NULL);

        if (n < 0 && errno != ENOENT)
                return err_sys(err, errno, "list %s", dir);
        *ret = false;
        for (int i = 0; i < n; i++)
                *ret = *ret || !str_eq(names[i]->d_name, name);
        free_names(names, n);
        return 0;
}

/* --- what plug-ins read ---------------------------------------------------------------------------------------------
 */

const char *cni_conf_type(const struct cni_conf *c, size_t i) {
        return json_string_value(json_object_get(json_array_get(c->plugins, i), "type"));
}

const char *cni_conf_ipam_type(const struct cni_conf *c, size_t i) {
        const json_t *ipam = json_object_get(json_array_get(c->plugins, i), "ipam");
        const char *type = json_string_value(json_object_get(ipam, "type"));

        return str_empty(type) ? NULL : type;
}

bool cni_conf_has_status(const struct cni_conf *c) {
        return cni_version_compare(c->version, "1.1.0") >= 0;
}

static bool is_made_by_runtime(const char *key) {
        static const char *const ours[] = { "capabilities", "runtimeConfig", "prevResult", "cniVersions" };

        for (size_t i = 0; i < ELEMENTSOF(ours); i++)
                if (str_eq(key, ours[i]))
                        return true;
        return str_after(key, "cni.dev/") != NULL;
}

json_t *cni_conf_input(const struct cni_conf *c, size_t i, const json_t *capabilities, const json_t *prev) {
        json_t *plugin = json_array_get(c->plugins, i), *in = json_object(), *config = json_object(), *v;
        const char *key;

        json_object_foreach(plugin, key, v) {
                if (!is_made_by_runtime(key))
                        (void) json_object_set(in, key, v);
        }
        json_object_foreach(json_object_get(plugin, "capabilities"), key, v) {
                if (json_is_true(v) && json_object_get(capabilities, key))
                        (void) json_object_set(config, key, json_object_get(capabilities, key));
        }
        (void) json_object_set_new(in, "cniVersion", json_string(c->version));
        (void) json_object_set_new(in, "name", json_string(c->name));
        if (json_object_size(config) > 0)
                (void) json_object_set(in, "runtimeConfig", config);
        if (prev)
                (void) json_object_set(in, "prevResult", (json_t *) (uintptr_t) prev);
        json_decref(config);
        return in;
}
