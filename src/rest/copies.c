/* SPDX-License-Identifier: Apache-2.0 */
/* copies - what moves, copies or resizes containers and their volumes. What becomes of a copy is nobody's pod: it gets
 * no claim of ours, neither in its tag nor in its description, or the daemon would take it for a lost one and remove
 * it. */
#include "base/log.h"
#include "base/str.h"
#include "rest/call.h"
#include "rest/copies.h"

enum { NEW_ID_ATTEMPTS = 5 };

/* --- new numbers ---------------------------------------------------------------------------------------------------
 */

static int check_new_id(struct rest_call *c, uint64_t id, struct err *err) {
        const struct rest_args *x = c->rest;

        if (id < PVE_VMID_MIN || id > PVE_VMID_MAX)
                return err_set(err, ERR_INVALID, "vmid: %llu is no container's number: %d to %d are",
                               (unsigned long long) id, PVE_VMID_MIN, PVE_VMID_MAX);
        if (id >= x->vmid_first && id <= x->vmid_last)
                return err_set(err, ERR_INVALID,
                               "vmid: %llu is one of the pods' (%u to %u), choose another with --vmid",
                               (unsigned long long) id, x->vmid_first, x->vmid_last);
        return 0;
}

/* What was asked for, or the lowest that is free. */
static int choose_id(struct rest_call *c, unsigned *ret, struct err *err) {
        const char *asked = rest_get(&c->values, "vmid");
        _cleanup_(json_unrefp) json_t *next = NULL;
        uint64_t id;
        int r = asked ? 0 : rest_read(c, JSON_STRING, &next, err, "/cluster/nextid");

        if (r < 0)
                return r;
        if (!str_to_u64(asked ?: json_string_value(next), &id))
                return pve_raise(err, PVE_FOREIGN, "GET /cluster/nextid: not a number");
        r = check_new_id(c, id, err);
        if (r == 0)
                *ret = (unsigned) id;
        return r;
}

int rest_with_new_id(struct rest_call *c,
                     int (*make)(struct rest_call *c, unsigned vmid, void *userdata, struct err *err), void *userdata,
                     unsigned *ret, struct err *err) {
        bool asked = rest_get(&c->values, "vmid");
        int r = 0;

        for (unsigned i = 0; i < NEW_ID_ATTEMPTS; i++) {
                r = choose_id(c, ret, err);
                if (r == 0)
                        r = make(c, *ret, userdata, err);
                if (r == 0 || asked || pve_kind(err) != PVE_EXISTS)
                        return r;
        }
        return r;
}

int rest_disown(struct rest_call *c, const struct pve_ct *ct, const char *description, bool drop_card,
                struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const struct pve_ct_args args = rest_ct_args(c, &params, NULL);

        pve_param(&params, "description", description);
        pve_param(&params, "tags", REST_COPY_TAG);
        pve_param(&params, "delete", drop_card ? "net0" : NULL);
        return pve_ct_set(c->pve, ct, &args, true, err);
}

/* --- clones --------------------------------------------------------------------------------------------------------
 */

static int clone_as(struct rest_call *c, unsigned vmid, void *userdata, struct err *err) {
        const struct owned *t = userdata;
        _cleanup_params_ struct pve_params params = PVE_PARAMS;

        pve_param_u64(&params, "newid", vmid);
        pve_param(&params, "full", "1");
        pve_param_printf(&params, "description", "Copy of container %u, made by proxmox-lxcri. It is no pod's.\n",
                         t->vmid);
        pve_param(&params, "pool", c->rest->pool); /* our privileges may be on it alone */
        rest_param(c, &params, "snapshot", "snapname");
        rest_param(c, &params, "storage", "storage");
        rest_param(c, &params, "node", "target");
        rest_param(c, &params, "hostname", "hostname");
        return rest_ct_do(c, t,
                          &(struct rest_do){ .action = PVE_CT_CLONE,
                                             .params = &params,
                                             .storage = rest_get(&c->values, "storage") },
                          err);
}

/* The description comes with the request, so that no copy has ever had the claim. Its tag goes afterwards; a copy that
 * still has it is left alone all the same. */
int rest_copy_clone(struct rest_call *c, json_t **ret, struct err *err) {
        const char *node = rest_get(&c->values, "node");
        struct owned t;
        unsigned vmid = 0;
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        r = rest_with_new_id(c, clone_as, &t, &vmid, err);
        if (r < 0)
                return err_wrap(err, "clone container %u", t.vmid);
        r = rest_disown(c, &(struct pve_ct){ node ?: t.node, vmid }, NULL, true, err);
        if (r < 0)
                return err_wrap(err, "container %u is the copy; change its tag and remove its network card", vmid);
        *ret = json_pack("{s:i, s:s}", "vmid", (int) vmid, "node", node ?: t.node);
        return 0;
}

/* --- templates -----------------------------------------------------------------------------------------------------
 */

/* The kubelet removes a pod that has ended, and its container with it: so that is disowned first. Interrupted after
 * that, there is a container that is no pod's, and says so. */
int rest_copy_template(struct rest_call *c, json_t **ret, struct err *err) {
        static const char text[] = "Kept as a template by proxmox-lxcri. It is no pod's.\n";
        struct owned t;
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        if (t.running && !rest_true(&c->values, "stop"))
                return err_set(err, ERR_PRECONDITION,
                               "container %u runs, and a template can't: --stop stops it, and its pod ends", t.vmid);
        r = rest_disown(c, &(struct pve_ct){ t.node, t.vmid }, text, false, err);
        if (r < 0)
                return err_wrap(err, "make a template of container %u", t.vmid);
        rest_tell(c, "container %u is no pod's any more", t.vmid);
        if (t.running)
                r = rest_ct_do(c, &t, &(struct rest_do){ .action = PVE_CT_STOP }, err);
        if (r < 0 && pve_kind(err) == PVE_NOT_RUNNING)
                r = 0;
        if (r == 0)
                r = rest_disown(c, &(struct pve_ct){ t.node, t.vmid }, NULL, true, err);
        if (r == 0)
                r = rest_ct_do(c, &t, &(struct rest_do){ .action = PVE_CT_TEMPLATE }, err);
        if (r < 0)
                return err_wrap(err, "container %u is no pod's any more; make a template of it", t.vmid);
        *ret = json_pack("{s:i, s:s}", "vmid", (int) t.vmid, "node", t.node);
        return 0;
}

/* --- where it is ---------------------------------------------------------------------------------------------------
 */

/* Of one that HA has the task only asks for it. */
static int find_again(struct rest_call *c, const struct owned *t, json_t **ret, struct err *err) {
        const char *asked = rest_get(&c->values, "node");
        struct owned now;
        int r = owned_find(c->pve, c->rest->node, t->vmid, &c->until, &now, err);

        if (r < 0)
                return r;
        if (!str_eq(now.node, asked) && !t->managed_by_ha)
                return err_set(err, ERR_ABORTED, "its task ended well, but container %u is on node %s", t->vmid,
                               now.node);
        if (!str_eq(now.node, asked))
                rest_tell(c, "HA moves it to %s as soon as it can", asked);
        *ret = json_pack("{s:i, s:s, s:b}", "vmid", (int) t->vmid, "node", now.node, "running", now.running);
        return 0;
}

int rest_copy_migrate(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const char *node = rest_get(&c->values, "node");
        struct owned t;
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        if (t.running && !rest_true(&c->values, "restart"))
                return err_set(err, ERR_PRECONDITION,
                               "container %u runs: --restart shuts it down and starts it on %s; its pod ends", t.vmid,
                               node);
        pve_param(&params, "target", node);
        if (rest_true(&c->values, "restart"))
                pve_param(&params, "restart", "1");
        rest_param(c, &params, "timeout", "timeout");
        rest_param(c, &params, "target-storage", "target-storage");
        if (t.running)
                rest_tell(c, "container %u goes to %s: its pod ends here", t.vmid, node);
        r = rest_ct_do(c, &t, &(struct rest_do){ .action = PVE_CT_MIGRATE, .params = &params }, err);
        if (r == 0)
                r = find_again(c, &t, ret, err);
        return r < 0 ? err_wrap(err, "migrate container %u to %s", t.vmid, node) : 0;
}

/* --- volumes -------------------------------------------------------------------------------------------------------
 */

struct move {
        struct rest_call *c;
        const struct owned *target;
};

static int move_volume(void *userdata, struct err *err) {
        const struct move *x = userdata;
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const char *storage = rest_get(&x->c->values, "storage"), *volume = rest_get(&x->c->values, "volume");
        int r;

        rest_param(x->c, &params, "volume", "volume");
        rest_param(x->c, &params, "storage", "storage");
        rest_param(x->c, &params, "delete", "delete");
        r = rest_ct_do(x->c, x->target,
                       &(struct rest_do){ .action = PVE_CT_MOVE_VOLUME, .params = &params, .storage = storage }, err);
        return r < 0 ? err_wrap(err, "move %s of container %u to storage %s", volume, x->target->vmid, storage) : 0;
}

/* Its programs get SIGTERM, and SIGKILL after Proxmox' minute. */
static int stop_and_move_volume(void *userdata, struct err *err) {
        const struct move *x = userdata;
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        int r;

        pve_param(&params, "forceStop", "1");
        r = rest_ct_do(x->c, x->target, &(struct rest_do){ .action = PVE_CT_SHUTDOWN, .params = &params }, err);
        return r < 0 ? err_wrap(err, "shut container %u down", x->target->vmid) : move_volume(userdata, err);
}

/* Proxmox does it to stopped ones only. */
int rest_copy_move_volume(struct rest_call *c, json_t **ret, struct err *err) {
        struct owned t;
        struct move x = { c, &t };
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        return rest_can_pause(c, &t) ? rest_pause(c, &t, stop_and_move_volume, &x, err) : move_volume(&x, err);
}

int rest_copy_resize(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const char *volume = rest_get(&c->values, "volume"), *size = rest_get(&c->values, "size");
        struct owned t;
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        rest_param(c, &params, "volume", "disk");
        rest_param(c, &params, "size", "size");
        r = rest_ct_do(c, &t, &(struct rest_do){ .action = PVE_CT_RESIZE, .params = &params }, err);
        return r < 0 ? err_wrap(err, "resize %s of container %u to %s", volume, t.vmid, size) : 0;
}
