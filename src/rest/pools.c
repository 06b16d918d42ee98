/* SPDX-License-Identifier: Apache-2.0 */
/* pools - groups of guests that administrators give permissions on. Ours are told by how their comment begins. */
#include "base/str.h"
#include "rest/call.h"

static const char mark[] = "proxmox-lxcri";

int rest_pool_ls(struct rest_call *c, json_t **ret, struct err *err) {
        return rest_read(c, JSON_ARRAY, ret, err, "/pools");
}

int rest_pool_create(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const char *comment = rest_get(&c->values, "comment"), *pool = rest_get(&c->values, "pool");
        int r;

        pve_param(&params, "poolid", pool);
        pve_param_printf(&params, "comment", "%s%s%s", mark, comment ? ": " : "", comment ?: "");
        r = rest_change(c, "POST", &params, false, err, "/pools");
        return r < 0 ? err_wrap(err, "make pool %s", pool) : 0;
}

static int check_ours(struct rest_call *c, const char *pool, struct err *err) {
        _cleanup_(json_unrefp) json_t *all = NULL;
        const json_t *o;
        size_t i;
        int r = rest_read(c, JSON_ARRAY, &all, err, "/pools");

        if (r < 0)
                return r;
        json_array_foreach(all, i, o) {
                if (!str_eq(pve_json_str(o, "poolid"), pool))
                        continue;
                if (str_after(pve_json_str(o, "comment") ?: "", mark))
                        return 0;
                return err_set(err, ERR_PRECONDITION,
                               "it was not made by \"pool create\": its comment does not begin with %s", mark);
        }
        return err_set(err, ERR_NOT_FOUND, "there is none of that name, or it may not be seen");
}

int rest_pool_rm(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const char *pool = rest_get(&c->values, "pool");
        int r = check_ours(c, pool, err);

        pve_param(&params, "poolid", pool);
        if (r == 0)
                r = rest_change(c, "DELETE", &params, false, err, "/pools");
        return r < 0 ? err_wrap(err, "remove pool %s", pool) : 0;
}

static int change(struct rest_call *c, bool add, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const char *pool = rest_get(&c->values, "pool");
        struct owned t;
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        pve_param(&params, "poolid", pool);
        pve_param_u64(&params, "vms", t.vmid);
        pve_param(&params, add ? "allow-move" : "delete", "1"); /* it may be in another one */
        r = rest_change(c, "PUT", &params, true, err, "/pools");
        return r < 0 ? err_wrap(err, "%s container %u %s pool %s", add ? "put" : "take", t.vmid,
                                add ? "into" : "out of", pool)
                     : 0;
}

int rest_pool_add(struct rest_call *c, json_t **ret, struct err *err) {
        return change(c, true, err);
}

int rest_pool_take(struct rest_call *c, json_t **ret, struct err *err) {
        return change(c, false, err);
}
