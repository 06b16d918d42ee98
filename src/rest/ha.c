/* SPDX-License-Identifier: Apache-2.0 */
/* ha - Proxmox' high availability, of pods' containers. What it starts again somewhere is an empty container: the pod
 * has ended, and the kubelet makes another. It is of use for those that hold a place or an address. */
#include "base/alloc.h"
#include "base/str.h"
#include "pod/ct-list.h"
#include "rest/call.h"

enum { LIST_MAX = 4096 };

/* "ct:123" of the pods' range; 0: not. */
static unsigned vmid_of(const struct rest_call *c, const char *sid) {
        const char *number = sid ? str_after(sid, "ct:") : NULL;
        uint64_t vmid;

        if (!number || !str_to_u64(number, &vmid) || vmid < c->rest->vmid_first || vmid > c->rest->vmid_last)
                return 0;
        return (unsigned) vmid;
}

/* --- resources -----------------------------------------------------------------------------------------------------
 */

static const json_t *service_of(const json_t *status, const char *sid) {
        const json_t *o;
        size_t i;

        json_array_foreach(status, i, o) if (str_eq(pve_json_str(o, "type"), "service") &&
                                             str_eq(pve_json_str(o, "sid"), sid)) return o;
        return NULL;
}

static const char *pod_of(struct rest_call *c, unsigned vmid) {
        struct pod_in_ct *list;
        size_t n;

        pods_list_cts(c->rest->pods, c->arena, &list, &n);
        for (size_t i = 0; i < n; i++)
                if (list[i].vmid == vmid)
                        return arena_printf(c->arena, "%s/%s", list[i].pod_namespace, list[i].name);
        return "";
}

int rest_ha_ls(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *all = NULL, *status = NULL;
        json_t *o;
        size_t i;
        int r = rest_read(c, JSON_ARRAY, &all, err, "/cluster/ha/resources");

        if (r == 0)
                r = rest_read(c, JSON_ARRAY, &status, err, "/cluster/ha/status/current");
        if (r < 0)
                return r;
        *ret = json_array();
        json_array_foreach(all, i, o) {
                const char *sid = pve_json_str(o, "sid");
                const json_t *service = service_of(status, sid);
                unsigned vmid = vmid_of(c, sid);

                if (!vmid)
                        continue;
                rest_put(o, "pod", pod_of(c, vmid));
                rest_put(o, "service", pve_json_str(service, "state") ?: "");
                rest_put(o, "node", pve_json_str(service, "node") ?: "");
                (void) json_array_append(*ret, o);
        }
        return 0;
}

static void put_options(struct rest_call *c, struct pve_params *to) {
        rest_param(c, to, "state", "state");
        rest_param(c, to, "max-restart", "max_restart");
        rest_param(c, to, "max-relocate", "max_relocate");
        rest_param(c, to, "failback", "failback");
        rest_param(c, to, "comment", "comment");
}

int rest_ha_add(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        struct owned t;
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        pve_param_printf(&params, "sid", "ct:%u", t.vmid);
        put_options(c, &params);
        r = rest_change(c, "POST", &params, false, err, "/cluster/ha/resources");
        return r < 0 ? err_wrap(err, "give container %u to HA", t.vmid) : 0;
}

int rest_ha_set(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        struct owned t;
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        put_options(c, &params);
        r = rest_change(c, "PUT", &params, true, err, "/cluster/ha/resources/ct:%u", t.vmid);
        return r < 0 ? err_wrap(err, "change what HA does with container %u", t.vmid) : 0;
}

int rest_ha_rm(struct rest_call *c, json_t **ret, struct err *err) {
        struct owned t;
        int r = rest_target(c, &t, err);

        if (r == 0)
                r = rest_change(c, "DELETE", NULL, false, err, "/cluster/ha/resources/ct:%u", t.vmid);
        return r < 0 ? err_wrap(err, "take the container from HA") : 0;
}

int rest_ha_status(struct rest_call *c, json_t **ret, struct err *err) {
        return rest_read(c, JSON_ARRAY, ret, err, "/cluster/ha/status/current");
}

/* --- rules ---------------------------------------------------------------------------------------------------------
 */

int rest_ha_rule_ls(struct rest_call *c, json_t **ret, struct err *err) {
        return rest_read(c, JSON_ARRAY, ret, err, "/cluster/ha/rules");
}

/* "a,b" -> "ct:5001,ct:5002"; of the arena. */
static int resources_of(struct rest_call *c, const char *pods, const char **ret, struct err *err) {
        _cleanup_strbuf_ struct strbuf list = STRBUF(LIST_MAX);
        struct owned t;

        for (const char *p = pods; *p; p += strspn(p, ",")) {
                size_t n = strcspn(p, ",");
                int r = n > 0 ? rest_find(c, arena_printf(c->arena, "%.*s", (int) n, p), &t, err) : 0;

                if (r < 0)
                        return r;
                if (n > 0)
                        strbuf_printf(&list, "%sct:%u", list.len > 0 ? "," : "", t.vmid);
                p += n;
        }
        if (list.overflow || list.len == 0)
                return err_set(err, ERR_INVALID, "pods: expected some pods, separated by commas, not \"%.64s\"", pods);
        *ret = arena_strdup(c->arena, strbuf_str(&list));
        return 0;
}

int rest_ha_rule_add(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const char *rule = rest_get(&c->values, "rule"), *resources;
        int r = resources_of(c, rest_get(&c->values, "pods"), &resources, err);

        if (r < 0)
                return r;
        rest_param(c, &params, "rule", "rule");
        rest_param(c, &params, "type", "type");
        pve_param(&params, "resources", resources);
        rest_param(c, &params, "nodes", "nodes");
        rest_param(c, &params, "strict", "strict");
        rest_param(c, &params, "affinity", "affinity");
        rest_param(c, &params, "comment", "comment");
        r = rest_change(c, "POST", &params, false, err, "/cluster/ha/rules");
        return r < 0 ? err_wrap(err, "make HA rule %s", rule) : 0;
}

/* A rule that is about others' guests, too, is not ours to remove. */
static int check_rule(struct rest_call *c, const char *rule, struct err *err) {
        _cleanup_(json_unrefp) json_t *o = NULL;
        const char *p;
        int r = rest_read(c, JSON_OBJECT, &o, err, "/cluster/ha/rules/%s", rule);

        if (r < 0)
                return r;
        for (p = pve_json_str(o, "resources") ?: ""; *p; p += strspn(p, ", ")) {
                size_t n = strcspn(p, ", ");
                const char *sid = arena_strndup(c->arena, p, n);

                if (n > 0 && !vmid_of(c, sid))
                        return err_set(err, ERR_PRECONDITION, "it is about %.64s, too, which is no pod's container",
                                       sid);
                p += n;
        }
        return 0;
}

int rest_ha_rule_rm(struct rest_call *c, json_t **ret, struct err *err) {
        const char *rule = rest_get(&c->values, "rule");
        int r = check_rule(c, rule, err);

        if (r == 0)
                r = rest_change(c, "DELETE", NULL, false, err, "/cluster/ha/rules/%s", rule);
        return r < 0 ? err_wrap(err, "remove HA rule %s", rule) : 0;
}
