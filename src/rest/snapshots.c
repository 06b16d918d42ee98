/* SPDX-License-Identifier: Apache-2.0 */
/* snapshots - of pods' containers: what their storages can do. A snapshot has the container's configuration, too, and
 * so the same claim: it is the same pod's. */
#include "base/alloc.h"
#include "base/str.h"
#include "rest/call.h"

/* Those that are there, oldest first; json_unref() it. */
static int list(struct rest_call *c, const struct owned *t, json_t **ret, struct err *err) {
        return rest_read(c, JSON_ARRAY, ret, err, "/nodes/%s/lxc/%u/snapshot", t->node, t->vmid);
}

static bool is_snapshot(const json_t *o) {
        const char *name = pve_json_str(o, "name");

        return name && !str_eq(name, "current"); /* "You are here!" */
}

int rest_snapshot_ls(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *all = NULL;
        struct owned t;
        json_t *o;
        size_t i;
        int r = rest_target(c, &t, err);

        if (r == 0)
                r = list(c, &t, &all, err);
        if (r < 0)
                return r;
        *ret = json_array();
        json_array_foreach(all, i, o) if (is_snapshot(o))(void) json_array_append(*ret, o);
        return 0;
}

int rest_snapshot_create(struct rest_call *c, json_t **ret, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const char *name = rest_get(&c->values, "name");
        struct owned t;
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        rest_param(c, &params, "name", "snapname");
        rest_param(c, &params, "description", "description");
        r = rest_ct_do(c, &t, &(struct rest_do){ .action = PVE_CT_SNAPSHOT, .params = &params }, err);
        if (r < 0)
                return err_wrap(err, "take snapshot %s of container %u", name, t.vmid);
        *ret = json_pack("{s:s, s:i}", "name", name, "vmid", (int) t.vmid);
        return 0;
}

struct rollback {
        struct rest_call *c;
        const struct owned *target;
        const char *name;
        bool start;
};

/* Proxmox stops the container first. */
static int roll_back(void *userdata, struct err *err) {
        const struct rollback *x = userdata;
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        int r;

        pve_param(&params, "start", x->start ? "1" : NULL);
        r = rest_ct_do(x->c, x->target,
                       &(struct rest_do){ .action = PVE_CT_SNAPSHOT_ROLLBACK, .params = &params, .item = x->name },
                       err);

        return r < 0 ? err_wrap(err, "set container %u back to snapshot %s", x->target->vmid, x->name) : 0;
}

/* What the pod wrote may be in the snapshot: then it goes on from there. Else the kubelet makes a new pod. */
int rest_snapshot_rollback(struct rest_call *c, json_t **ret, struct err *err) {
        struct owned t;
        struct rollback x = { .c = c, .target = &t, .name = rest_get(&c->values, "name") };
        int r = rest_target(c, &t, err);

        if (r < 0)
                return r;
        if (rest_can_pause(c, &t))
                return rest_pause(c, &t, roll_back, &x, err);
        if (t.running)
                rest_tell(c, "container %u is stopped for it: its pod ends", t.vmid);
        x.start = rest_true(&c->values, "start");
        return roll_back(&x, err);
}

static int remove_one(struct rest_call *c, const struct owned *t, const char *name, bool force, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        int r;

        if (force)
                pve_param(&params, "force", "1");
        r = rest_ct_do(c, t, &(struct rest_do){ .action = PVE_CT_SNAPSHOT_DELETE, .params = &params, .item = name },
                       err);
        return r < 0 ? err_wrap(err, "remove snapshot %s of container %u", name, t->vmid) : 0;
}

int rest_snapshot_rm(struct rest_call *c, json_t **ret, struct err *err) {
        struct owned t;
        int r = rest_target(c, &t, err);

        return r < 0 ? r : remove_one(c, &t, rest_get(&c->values, "name"), rest_true(&c->values, "force"), err);
}

static uint64_t taken_at(const json_t *o) {
        uint64_t s;

        return pve_json_u64(o, "snaptime", &s) ? s : 0;
}

static int by_age(const void *a, const void *b) {
        uint64_t x = taken_at(*(json_t *const *) a), y = taken_at(*(json_t *const *) b);

        return (x > y) - (x < y);
}

/* Oldest first, so that what an end in the middle leaves is newer than what went. */
int rest_snapshot_prune(struct rest_call *c, json_t **ret, struct err *err) {
        const char *prefix = rest_get(&c->values, "prefix") ?: "";
        _cleanup_(json_unrefp) json_t *all = NULL;
        _cleanup_(freep) json_t **those = NULL;
        struct owned t;
        size_t n = 0, i;
        uint64_t keep;
        json_t *o;
        int r = rest_target(c, &t, err);

        if (r == 0)
                r = list(c, &t, &all, err);
        if (r < 0)
                return r;
        if (!str_to_u64(rest_get(&c->values, "keep"), &keep))
                return err_set(err, ERR_INVALID, "keep is no number");
        those = xcalloc(json_array_size(all) + 1, sizeof(json_t *));
        json_array_foreach(all, i, o) if (is_snapshot(o) && str_after(pve_json_str(o, "name"), prefix)) those[n++] = o;
        qsort(those, n, sizeof(json_t *), by_age);
        for (i = 0; i + keep < n; i++) {
                rest_tell(c, "remove snapshot %s", pve_json_str(those[i], "name"));
                r = remove_one(c, &t, pve_json_str(those[i], "name"), false, err);
                if (r < 0)
                        return err_wrap(err, "%zu of %zu are removed", i, (size_t) (n - keep));
        }
        *ret = json_pack("{s:i}", "removed", (int) i);
        return 0;
}
