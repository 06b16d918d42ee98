/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/cluster.h"

#include <string.h>
#include <strings.h>
#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "pve/operation.h"

enum { MAJOR_MIN = 7, MAJOR_MAX = 9 };

static int get(struct pve *p, const char *path, const struct pve_params *params, const struct pve_until *until,
               json_t **ret, struct err *err) {
        const struct pve_request req = { .path = path, .params = params, .until = until };

        return pve_call(p, &req, ret, err);
}

/* They become parts of paths. */
static int check_names(const char *node, const char *storage, struct err *err) {
        if (str_empty(node) || strchr(node, '/'))
                return err_set(err, ERR_INVALID, "\"%.100s\" is not the name of a node", node ?: "");
        if (str_empty(storage) || strchr(storage, '/'))
                return err_set(err, ERR_INVALID, "\"%.100s\" is not the name of a storage", storage ?: "");
        return 0;
}

/* "9.2.11", "7.4-3" */
static bool read_version(const char *s, struct pve_version *ret) {
        size_t major = strspn(s ?: "", "0123456789"), minor;
        _cleanup_(freep) char *a = xstrndup(s ?: "", major), *b = NULL;
        uint64_t x, y;

        if (!s || s[major] != '.')
                return false;
        minor = strspn(s + major + 1, "0123456789");
        b = xstrndup(s + major + 1, minor);
        if (!str_to_u64(a, &x) || !str_to_u64(b, &y) || x > 1000 || y > 1000)
                return false;
        *ret = (struct pve_version){ .major = (unsigned) x, .minor = (unsigned) y };
        return true;
}

int pve_get_version(struct pve *p, const struct pve_until *until, struct pve_version *ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *answer = NULL;
        int r = get(p, "/version", NULL, until, &answer, err);

        if (r < 0)
                return r;
        if (!read_version(pve_json_str(json_object_get(answer, "data"), "version"), ret))
                return pve_raise(err, PVE_FOREIGN, "GET /version: no version in the answer");
        if (ret->major < MAJOR_MIN || ret->major > MAJOR_MAX)
                return pve_raise(err, PVE_UNSUPPORTED, "Proxmox VE %u.%u: %d to %d are known here", ret->major,
                                 ret->minor, MAJOR_MIN, MAJOR_MAX);
        return 0;
}

bool pve_has(const struct pve_version *v, enum pve_feature feature) {
        static const struct pve_version since[] = {
                [PVE_FEATURE_HA_RULES] = { 9, 0 },
                [PVE_FEATURE_HOST_MANAGED] = { 9, 1 },
                [PVE_FEATURE_ENTRYPOINT] = { 9, 1 },
                [PVE_FEATURE_MP_IDMAP] = { 9, 2 },
        };
        const struct pve_version *s = &since[feature];

        return v->major > s->major || (v->major == s->major && v->minor >= s->minor);
}

static bool is_host(const char *node, const char *host_name) {
        size_t len = strcspn(host_name, ".");

        return len > 0 && strncasecmp(node, host_name, len) == 0 && !node[len];
}

int pve_find_node(struct pve *p, const char *host_name, const struct pve_until *until, char ret[PVE_NODE_MAX],
                  struct err *err) {
        _cleanup_(json_unrefp) json_t *answer = NULL;
        _cleanup_strbuf_ struct strbuf names = STRBUF(300);
        const json_t *entry;
        const char *name, *found = NULL, *last = NULL;
        size_t i, n = 0;
        int r = pve_list_nodes(p, until, &answer, err);

        if (r < 0)
                return r;
        json_array_foreach(json_object_get(answer, "data"), i, entry) {
                name = pve_json_str(entry, "node");
                if (!name || strlen(name) >= PVE_NODE_MAX)
                        continue;
                strbuf_printf(&names, "%s%s", n++ > 0 ? ", " : "", name);
                last = name;
                if (is_host(name, host_name))
                        found = name;
        }
        if (!found && n != 1)
                return err_set(err, ERR_PRECONDITION,
                               "this host is %.100s, and the cluster's nodes are: %s; name the one that this is",
                               host_name, n > 0 ? strbuf_str(&names) : "(none that we may see)");
        (void) snprintf(ret, PVE_NODE_MAX, "%s", found ?: last);
        return 0;
}

int pve_list_nodes(struct pve *p, const struct pve_until *until, json_t **ret, struct err *err) {
        return get(p, "/nodes", NULL, until, ret, err);
}

int pve_node_status(struct pve *p, const char *node, const struct pve_until *until, json_t **ret, struct err *err) {
        _cleanup_(freep) char *path = xprintf("/nodes/%s/status", node);
        int r = check_names(node, "-", err);

        return r < 0 ? r : get(p, path, NULL, until, ret, err);
}

int pve_storage_status(struct pve *p, const struct pve_storage *s, const struct pve_until *until, json_t **ret,
                       struct err *err) {
        _cleanup_(freep) char *path = xprintf("/nodes/%s/storage/%s/status", s->node, s->name);
        int r = check_names(s->node, s->name, err);

        return r < 0 ? r : get(p, path, NULL, until, ret, err);
}

int pve_storage_list(struct pve *p, const struct pve_storage *s, const char *content, const struct pve_until *until,
                     json_t **ret, struct err *err) {
        _cleanup_(freep) char *path = xprintf("/nodes/%s/storage/%s/content", s->node, s->name);
        _cleanup_params_ struct pve_params params = PVE_PARAMS;

        int r = check_names(s->node, s->name, err);

        pve_param(&params, "content", content);
        return r < 0 ? r : get(p, path, &params, until, ret, err);
}

int pve_storage_upload(struct pve *p, const struct pve_storage *s, const char *file, const char *filename,
                       const struct pve_until *until, struct err *err) {
        _cleanup_(freep) char *path = xprintf("/nodes/%s/storage/%s/upload", s->node, s->name);
        const struct http_part parts[] = { { .name = "content", .value = "vztmpl" },
                                           { .name = "filename", .file = file, .filename = filename },
                                           { 0 } };
        const struct pve_operation op = { .method = "POST",
                                          .path = path,
                                          .parts = parts,
                                          .type = "imgcopy",
                                          .task_id = "",
                                          .node = s->node,
                                          .storage = s->name,
                                          .until = until };
        int r = check_names(s->node, s->name, err);

        return r < 0 ? r : pve_operate(p, &op, NULL, err);
}

int pve_storage_delete(struct pve *p, const struct pve_storage *s, const char *volid, const struct pve_until *until,
                       struct err *err) {
        _cleanup_(freep) char *path = xprintf("/nodes/%s/storage/%s/content/%s", s->node, s->name, volid);
        const struct pve_operation op = { .method = "DELETE",
                                          .path = path,
                                          .type = "imgdel",
                                          .task_id = "",
                                          .node = s->node,
                                          .storage = s->name,
                                          .done = PVE_NO_VOLUME,
                                          .until = until };
        int r = check_names(s->node, s->name, err);

        return r < 0 ? r : pve_operate(p, &op, NULL, err);
}

int pve_storage_path(struct pve *p, const struct pve_storage *s, const char *volid, const struct pve_until *until,
                     char **ret, struct err *err) {
        _cleanup_(freep) char *path = xprintf("/nodes/%s/storage/%s/content/%s", s->node, s->name, volid);
        _cleanup_(json_unrefp) json_t *found = NULL;
        const char *file;
        int r = check_names(s->node, s->name, err);

        if (r == 0)
                r = get(p, path, NULL, until, &found, err);
        if (r < 0)
                return r;
        file = pve_json_str(json_object_get(found, "data"), "path");
        if (!file || *file != '/')
                return err_set(err, ERR_INTERNAL, "Proxmox does not say where volume %s is", volid);
        *ret = xstrdup(file);
        return 0;
}
