/* SPDX-License-Identifier: Apache-2.0 */
/* prepared - see prepared.h. The calls of a CT until a pod has it: create, start, config; and one to take it. */
#include "runtime/proxmox/prepared.h"

#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "runtime/proxmox/networks.h"
#include "runtime/proxmox/process.h"

enum {
        DESCRIPTION_MAX = 4096,
        TAKES_MAX = 3, /* that are tried for a pod; past it something is wrong with all of them */
        ROOM = 3,      /* pods' CTs under way that leave no place in line (pve/gate.h) to one more */
        NAP_MS = 50,
};

/* --- what it is --------------------------------------------------------------------------------------------------- */

void prepared_recipe(const struct cts *c, const char *template_volume, char ret[PREPARED_RECIPE_MAX]) {
        _cleanup_strbuf_ struct strbuf text = STRBUF(4 * PREPARED_RECIPE_MAX);
        const char *words[] = { strrchr(template_volume, '/') ? strrchr(template_volume, '/') + 1 : template_volume,
                                c->args.storage, c->args.rootfs_size, c->args.pool };

        for (size_t i = 0; i < ELEMENTSOF(words); i++) {
                if (!words[i])
                        continue;
                if (i > 0)
                        strbuf_putc(&text, '-');
                claim_word(&text, words[i]);
        }
        (void) snprintf(ret, PREPARED_RECIPE_MAX, "%s", strbuf_str(&text));
}

/* What a pod asks for that a CT can't be given while it runs; others have one made for them. */
static bool fits(const struct cts *c, const struct ct_pod *pod) {
        return !networks_on(c->networks) && pod->disk_bytes == 0;
}

/* Has nobody put anything into it that we don't know? A pod would have it. */
static bool is_as_made(const json_t *config) {
        static const char *const ours[] = { "arch",   "console", "description", "digest", "hostname", "memory",
                                            "ostype", "rootfs",  "swap",        "tags",   "tty",      "unprivileged" };
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) config, key, value) {
                bool known = false;

                for (size_t i = 0; i < ELEMENTSOF(ours) && !known; i++)
                        known = str_eq(key, ours[i]);
                if (!known)
                        return false;
        }
        return true;
}

static bool take_digest(const json_t *config, struct warm_ct *ret) {
        const char *digest = pve_json_str(config, "digest");

        return !str_empty(digest) && snprintf(ret->digest, sizeof(ret->digest), "%s", digest) < WARM_DIGEST_MAX;
}

/* --- making ------------------------------------------------------------------------------------------------------- */

/* Pods that wait for theirs go first: one place in line is left to them. */
static int wait_for_room(const struct cts *c, const struct pve_until *until, struct err *err) {
        int r = 0;

        while (r == 0 && atomic_load(&c->making) >= ROOM)
                r = http_pause(until->cancel_fd, until->deadline_ns, NAP_MS, err);
        return r;
}

static int op_make(const struct ct_until *ct_until, struct warm_ct *ret, void *userdata, struct err *err) {
        static const struct ct_pod nobody = { .id = NULL };
        _cleanup_(json_unrefp) json_t *config = NULL;
        struct cts *c = userdata;
        struct pve_until until = cts_until(c, ct_until);
        struct claim claim;
        bool ours = false;
        int r = wait_for_room(c, &until, err);

        if (r == 0)
                r = cts_make(c, &nobody, &until, &ret->ct, err);
        if (r == 0)
                r = cts_read_claim(c, &(struct pve_ct){ c->args.node, ret->ct.vmid }, &until, &claim, &ours, &config,
                                   err);
        if (r == 0 && !(ours && claim.recipe[0] && take_digest(config, ret)))
                r = err_set(err, ERR_ABORTED, "container %u was changed while it was prepared", ret->ct.vmid);
        if (r < 0)
                return err_wrap(err, "prepare a Proxmox container");
        log_info("Proxmox container prepared", "vmid", LOG_U64(ret->ct.vmid), NULL);
        return 0;
}

/* --- those that are there already --------------------------------------------------------------------------------- */

void prepared_found(struct cts *c, const struct pve_ct *ct, const json_t *config, const struct claim *claim,
                    const char *recipe) {
        struct warm_ct found = { .ct.vmid = ct->vmid };
        struct err why;

        if (warm_knows(c->warm, ct->vmid))
                return;
        if (str_eq(ct->node, c->args.node) && str_eq(claim->recipe, recipe) && is_as_made(config) &&
            take_digest(config, &found) && ct_process_find(c->args.cgroups, &found.ct, &why) == 0) {
                log_info("prepared Proxmox container taken up", "vmid", LOG_U64(ct->vmid), NULL);
                warm_adopt(c->warm, &found);
                return;
        }
        log_info("a prepared Proxmox container can't be used any more", "vmid", LOG_U64(ct->vmid), NULL);
        warm_discard(c->warm, ct->vmid, "");
}

struct look {
        struct cts *c;
        char recipe[PREPARED_RECIPE_MAX];
};

static bool look_at(const struct pve_ct *ct, const struct claim *claim, const json_t *config, void *userdata) {
        struct look *l = userdata;

        if (claim->recipe[0])
                prepared_found(l->c, ct, config, claim, l->recipe);
        return false;
}

static int op_look(const struct ct_until *ct_until, void *userdata, struct err *err) {
        _cleanup_(freep) char *template = NULL;
        struct look l = { .c = userdata };
        struct pve_until until = cts_until(l.c, ct_until);
        int r = cts_find_template(l.c, &until, &template, err);

        if (r < 0)
                return r;
        prepared_recipe(l.c, template, l.recipe);
        return cts_each(l.c, &until, look_at, &l, err);
}

/* --- removing ----------------------------------------------------------------------------------------------------- */

struct doomed {
        uint32_t vmid;
        const char *pod_id;
        char node[CLAIM_NODE_MAX];
};

static bool is_doomed(const struct claim *claim, const char *pod_id) {
        return claim->recipe[0] || (*pod_id && str_eq(claim->pod_id, pod_id));
}

static bool find_doomed(const struct pve_ct *ct, const struct claim *claim, const json_t *config, void *userdata) {
        struct doomed *d = userdata;

        if (ct->vmid != d->vmid || !is_doomed(claim, d->pod_id) || strlen(ct->node) >= sizeof(d->node))
                return false;
        memcpy(d->node, ct->node, strlen(ct->node) + 1);
        return true;
}

/* Where we made it; else wherever somebody has moved it. */
static int look_for_doomed(struct cts *c, const struct pve_until *until, struct doomed *d, struct err *err) {
        struct claim claim;
        bool ours = false;
        int r = cts_read_claim(c, &(struct pve_ct){ c->args.node, d->vmid }, until, &claim, &ours, NULL, err);

        d->node[0] = '\0';
        if (r == 0 && ours && is_doomed(&claim, d->pod_id))
                (void) snprintf(d->node, sizeof(d->node), "%s", c->args.node);
        else if (r == 0)
                r = cts_each(c, until, find_doomed, d, err);
        return r;
}

static int op_drop(uint32_t vmid, const char *pod_id, const struct ct_until *ct_until, void *userdata,
                   struct err *err) {
        struct cts *c = userdata;
        struct doomed d = { .vmid = vmid, .pod_id = pod_id };
        struct pve_until until = cts_until(c, ct_until);
        bool missing = true;
        int r = 0;

        for (unsigned i = 0; r == 0 && missing && i < CTS_MOVES_MAX; i++) {
                r = look_for_doomed(c, &until, &d, err);
                missing = false;
                if (r == 0 && d.node[0])
                        r = cts_destroy(c, &(struct pve_ct){ d.node, vmid }, &until, &missing, err);
        }
        if (r < 0)
                return err_wrap(err, "remove prepared container %u", vmid);
        log_info(d.node[0] ? "prepared Proxmox container removed"
                           : "a prepared Proxmox container is gone already, or somebody else's now",
                 "vmid", LOG_U64(vmid), NULL);
        return 0;
}

const struct warm_ops prepared_ops = { .make = op_make, .look = op_look, .drop = op_drop };

/* --- a pod's ------------------------------------------------------------------------------------------------------ */

/* One request makes it the pod's: who it is for, its name, its limits. It is refused when anything was changed since.
 */
static int claim_for(struct cts *c, const struct ct_pod *pod, const struct warm_ct *ct, const struct pve_until *until,
                     struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        _cleanup_strbuf_ struct strbuf description = STRBUF(DESCRIPTION_MAX);
        const struct pve_ct_args args = { .params = &params, .until = until };

        claim_write(pod, c->args.node, &description);
        pve_param(&params, "digest", ct->digest);
        pve_param(&params, "description", strbuf_str(&description));
        pve_param(&params, "hostname", cts_hostname(pod));
        cts_put_limits(c, &pod->limits, false, &params);
        return pve_ct_set_now(c->args.pve, &(struct pve_ct){ c->args.node, ct->ct.vmid }, &args, err);
}

/* Was the request refused for this CT's sake? Then another one may do. */
static bool is_its_own(const struct err *err) {
        switch (pve_kind(err)) {
        case PVE_MODIFIED:
        case PVE_LOCKED:
        case PVE_LOCK_TIMEOUT:
        case PVE_MISSING:
                return true;
        default:
                return false;
        }
}

/* Nothing of it was done, and that says nothing of the CT. */
static bool is_untouched(const struct err *err) {
        switch (pve_kind(err)) {
        case PVE_UNREACHABLE:
        case PVE_UNTRUSTED:
        case PVE_NODE_UNREACHABLE:
        case PVE_NO_QUORUM:
        case PVE_AUTH:
        case PVE_PERMISSION:
                return true;
        default:
                return false;
        }
}

/* 1: it is the pod's; 0: another may be tried; -1: others won't do any better. */
static int try_one(struct cts *c, const struct ct_pod *pod, const struct warm_ct *ct, const struct pve_until *until) {
        struct err err = { 0 };

        if (claim_for(c, pod, ct, until, &err) < 0) {
                log_info("a prepared Proxmox container can't be used", "vmid", LOG_U64(ct->ct.vmid), "sandbox", pod->id,
                         "error", err.msg, NULL);
                if (is_untouched(&err))
                        warm_give_back(c->warm, ct->ct.vmid);
                else
                        warm_spoilt(c->warm, ct->ct.vmid, pod->id);
                return is_its_own(&err) ? 0 : -1;
        }
        if (!cts_adopt(c, pod->id, &ct->ct)) {
                log_info("a prepared Proxmox container has ended", "vmid", LOG_U64(ct->ct.vmid), "sandbox", pod->id,
                         NULL);
                warm_spoilt(c->warm, ct->ct.vmid, pod->id);
                return 0;
        }
        warm_taken(c->warm, ct->ct.vmid);
        return 1;
}

bool prepared_take(struct cts *c, const struct ct_pod *pod, const struct pve_until *until, struct ct *ret) {
        struct warm_ct ct;
        int r = 0;

        for (unsigned i = 0; i < TAKES_MAX && r == 0 && fits(c, pod) && warm_take(c->warm, &ct); i++)
                r = try_one(c, pod, &ct, until);
        if (r > 0)
                *ret = ct.ct;
        return r > 0;
}
