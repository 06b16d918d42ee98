/* SPDX-License-Identifier: Apache-2.0 */
/* status - what there is: pods' containers, nodes, storages. */
#include "base/str.h"
#include "pod/ct-list.h"
#include "rest/call.h"

static const struct pod_in_ct *pod_of(const struct pod_in_ct *list, size_t n, unsigned vmid) {
        for (size_t i = 0; i < n; i++)
                if (list[i].vmid == vmid)
                        return &list[i];
        return NULL;
}

static json_t *describe(struct rest_call *c, const struct pve_ct_entry *e, const struct pod_in_ct *pod) {
        const struct pve_ct_status *s = &e->status;
        json_t *o = json_object();

        (void) json_object_set_new(o, "vmid", json_integer(e->ct.vmid));
        rest_put(o, "node", e->ct.node);
        rest_put(o, "name", s->name);
        rest_put(o, "pod", pod ? arena_printf(c->arena, "%s/%s", pod->pod_namespace, pod->name) : "");
        rest_put(o, "id", pod ? pod->id : "");
        rest_put(o, "state", s->template ? "template" : s->running ? "running" : "stopped");
        (void) json_object_set_new(o, "mem", json_integer((json_int_t) s->mem_bytes));
        (void) json_object_set_new(o, "maxmem", json_integer((json_int_t) s->max_mem_bytes));
        (void) json_object_set_new(o, "uptime", json_integer((json_int_t) s->uptime_s));
        rest_put(o, "ha", s->managed_by_ha ? "yes" : "");
        rest_put(o, "lock", s->lock);
        return o;
}

/* Those with our tag and a number of our range. Whose they are is not looked into: that takes a request for each. */
int rest_status_ls(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_(pve_ct_list_done) struct pve_ct_list cts = { 0 };
        struct pod_in_ct *pods;
        size_t n;
        int r = pve_ct_list(c->pve, &c->until, &cts, err);

        if (r < 0)
                return r;
        pods_list_cts(c->rest->pods, c->arena, &pods, &n);
        *ret = json_array();
        for (size_t i = 0; i < cts.n; i++) {
                const struct pve_ct_entry *e = &cts.entries[i];

                if (e->ct.vmid >= c->rest->vmid_first && e->ct.vmid <= c->rest->vmid_last &&
                    claim_has_tag(e->status.tags))
                        (void) json_array_append_new(*ret, describe(c, e, pod_of(pods, n, e->ct.vmid)));
        }
        return 0;
}

int rest_status_nodes(struct rest_call *c, json_t **ret, struct err *err) {
        return rest_read(c, JSON_ARRAY, ret, err, "/nodes");
}

int rest_status_storages(struct rest_call *c, json_t **ret, struct err *err) {
        return rest_read(c, JSON_ARRAY, ret, err, "/nodes/%s/storage", c->rest->node);
}
