/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/ct.h"

#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "pve/operation.h"

enum { NOW_MS = 5000 };

static const struct {
        const char *method, *path, *type;
        enum pve_line line;
        enum pve_kind done;
} actions[] = {
#define PVE_CT_ACTION(action, method, path, type, line, done)                                                          \
        [PVE_CT_##action] = { method, path, type, PVE_LINE_##line, PVE_##done },
        PVE_CT_ACTIONS(PVE_CT_ACTION)
#undef PVE_CT_ACTION
};

static int check(const struct pve_ct *ct, const char *item, bool wants_item, struct err *err) {
        if (ct->vmid < PVE_VMID_MIN || ct->vmid > PVE_VMID_MAX)
                return err_set(err, ERR_INVALID, "%u is not the number of a container", ct->vmid);
        if (str_empty(ct->node) || strchr(ct->node, '/'))
                return err_set(err, ERR_INVALID, "\"%.100s\" is not the name of a node", ct->node ?: "");
        if (wants_item != !!item || (item && (!*item || strchr(item, '/'))))
                return err_set(err, ERR_INVALID, "\"%.100s\" is not the name of a snapshot", item ?: "");
        return 0;
}

/* Runs @op, completed for @ct. */
static int operate(struct pve *p, const struct pve_ct *ct, const struct pve_ct_args *args, struct pve_operation op,
                   unsigned *ret_warnings, struct err *err) {
        char id[16];

        (void) snprintf(id, sizeof(id), "%u", ct->vmid);
        op.task_id = id;
        op.node = ct->node;
        op.storage = args->storage;
        op.until = args->until;
        op.progress = args->progress;
        op.lock_wait_ms = args->lock_wait_ms;
        return pve_operate(p, &op, ret_warnings, err);
}

int pve_ct_do(struct pve *p, const struct pve_ct *ct, enum pve_ct_action action, const struct pve_ct_args *args,
              unsigned *ret_warnings, struct err *err) {
        const char *below = actions[action].path, *star = strchr(below, '*');
        _cleanup_(freep) char *path = NULL;
        struct pve_operation op = { .method = actions[action].method,
                                    .params = args->params,
                                    .type = actions[action].type,
                                    .line = actions[action].line,
                                    .done = actions[action].done };
        int r = check(ct, args->item, star, err);

        if (r < 0)
                return r;
        op.path = path = xprintf("/nodes/%s/lxc/%u%.*s%s%s", ct->node, ct->vmid,
                                 (int) (star ? (size_t) (star - below) : strlen(below)), below, args->item ?: "",
                                 star ? star + 1 : "");
        return operate(p, ct, args, op, ret_warnings, err);
}

/* A request that names the CT among its parameters. */
static int post_with_vmid(struct pve *p, const struct pve_ct *ct, const char *below, struct pve_operation op,
                          const struct pve_ct_args *args, unsigned *ret_warnings, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        _cleanup_(freep) char *path = NULL;
        int r = check(ct, NULL, false, err);

        if (r < 0)
                return r;
        pve_param_u64(&params, "vmid", ct->vmid);
        if (args->params)
                pve_params_add(&params, args->params);
        op.method = "POST";
        op.params = &params;
        op.path = path = xprintf("/nodes/%s/%s", ct->node, below);
        return operate(p, ct, args, op, ret_warnings, err);
}

int pve_ct_create(struct pve *p, const struct pve_ct *ct, const struct pve_ct_args *args, unsigned *ret_warnings,
                  struct err *err) {
        bool restore = args->params && strstr(strbuf_str(&args->params->encoded), "restore=1");
        const struct pve_operation op = { .type = restore ? "vzrestore" : "vzcreate",
                                          .line = restore ? PVE_LINE_LONG : PVE_LINE_SHORT };

        return post_with_vmid(p, ct, "lxc", op, args, ret_warnings, err);
}

int pve_ct_backup(struct pve *p, const struct pve_ct *ct, const struct pve_ct_args *args, unsigned *ret_warnings,
                  struct err *err) {
        const struct pve_operation op = { .type = "vzdump", .line = PVE_LINE_LONG };

        return post_with_vmid(p, ct, "vzdump", op, args, ret_warnings, err);
}

static int get(struct pve *p, const struct pve_ct *ct, const char *below, const struct pve_until *until, json_t **ret,
               struct err *err) {
        _cleanup_(freep) char *path = NULL;
        _cleanup_(json_unrefp) json_t *answer = NULL;
        struct pve_request req = { .until = until };
        int r = check(ct, NULL, false, err);

        if (r < 0)
                return r;
        req.path = path = xprintf("/nodes/%s/lxc/%u/%s", ct->node, ct->vmid, below);
        r = pve_call(p, &req, &answer, err);
        if (r < 0)
                return r;
        if (!json_is_object(json_object_get(answer, "data")))
                return pve_raise(err, PVE_FOREIGN, "GET %s: the answer is not an object", path);
        *ret = json_incref(json_object_get(answer, "data"));
        return 0;
}

int pve_ct_config(struct pve *p, const struct pve_ct *ct, const struct pve_until *until, json_t **ret,
                  struct err *err) {
        return get(p, ct, "config", until, ret, err);
}

int pve_ct_set(struct pve *p, const struct pve_ct *ct, const struct pve_ct_args *args, bool repeatable,
               struct err *err) {
        _cleanup_(freep) char *path = NULL;
        struct pve_operation op = { .method = "PUT", .params = args->params, .repeatable = repeatable };
        int r = check(ct, NULL, false, err);

        if (r < 0)
                return r;
        op.path = path = xprintf("/nodes/%s/lxc/%u/config", ct->node, ct->vmid);
        return operate(p, ct, args, op, NULL, err);
}

int pve_ct_set_now(struct pve *p, const struct pve_ct *ct, const struct pve_ct_args *args, struct err *err) {
        _cleanup_(freep) char *path = NULL;
        _cleanup_(json_unrefp) json_t *answer = NULL;
        struct pve_request req = {
                .method = "PUT", .params = args->params, .timeout_ms = NOW_MS, .until = args->until
        };
        int r = check(ct, NULL, false, err);

        if (r < 0)
                return r;
        req.path = path = xprintf("/nodes/%s/lxc/%u/config", ct->node, ct->vmid);
        return pve_call(p, &req, &answer, err);
}

static uint64_t number(const json_t *o, const char *key) {
        uint64_t v;

        return pve_json_u64(o, key, &v) ? v : 0;
}

static struct pve_ct_status read_status(const json_t *o) {
        return (struct pve_ct_status){
                .running = str_eq(pve_json_str(o, "status"), "running"),
                .managed_by_ha = pve_json_true(json_object_get(o, "ha"), "managed") || pve_json_str(o, "hastate"),
                .template = pve_json_true(o, "template"),
                .pid = number(o, "pid"),
                .uptime_s = number(o, "uptime"),
                .mem_bytes = number(o, "mem"),
                .max_mem_bytes = number(o, "maxmem"),
                .name = pve_json_str(o, "name") ?: "",
                .tags = pve_json_str(o, "tags") ?: "",
                .lock = pve_json_str(o, "lock") ?: "",
        };
}

int pve_ct_status(struct pve *p, const struct pve_ct *ct, const struct pve_until *until, struct pve_ct_status *ret,
                  struct err *err) {
        json_t *data;
        int r = get(p, ct, "status/current", until, &data, err);

        if (r < 0)
                return r;
        *ret = read_status(data);
        ret->owner = data;
        return 0;
}

void pve_ct_status_done(struct pve_ct_status *s) {
        s->owner = json_unref(s->owner);
}

int pve_ct_list(struct pve *p, const struct pve_until *until, struct pve_ct_list *ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const struct pve_request req = { .path = "/cluster/resources", .params = &params, .until = until };
        const json_t *list, *o;
        json_t *answer;
        size_t i;
        int r;

        pve_param(&params, "type", "vm");
        r = pve_call(p, &req, &answer, err);
        if (r < 0)
                return r;
        list = json_object_get(answer, "data");
        *ret = (struct pve_ct_list){ .owner = answer,
                                     .entries = xcalloc(json_array_size(list) + 1, sizeof(*ret->entries)) };
        json_array_foreach(list, i, o) {
                uint64_t vmid = number(o, "vmid");
                const char *node = pve_json_str(o, "node");

                if (!str_eq(pve_json_str(o, "type"), "lxc") || !node || vmid < PVE_VMID_MIN || vmid > PVE_VMID_MAX)
                        continue;
                ret->entries[ret->n++] = (struct pve_ct_entry){ .ct = { .node = node, .vmid = (unsigned) vmid },
                                                                .status = read_status(o) };
        }
        return 0;
}

void pve_ct_list_done(struct pve_ct_list *l) {
        free(l->entries);
        l->owner = json_unref(l->owner);
        *l = (struct pve_ct_list){ 0 };
}
