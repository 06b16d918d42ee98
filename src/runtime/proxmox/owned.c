/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/proxmox/owned.h"

#include "base/str.h"

static const struct pve_ct_entry *entry_of(const struct pve_ct_list *list, unsigned vmid) {
        for (size_t i = 0; i < list->n; i++)
                if (list->entries[i].ct.vmid == vmid)
                        return &list->entries[i];
        return NULL;
}

static int read_claim(struct pve *p, const char *our_node, const struct pve_ct *ct, const struct pve_until *until,
                      struct claim *ret, struct err *err) {
        _cleanup_(json_unrefp) json_t *config = NULL;
        int r = pve_ct_config(p, ct, until, &config, err);

        if (r < 0)
                return r;
        if (!claim_read(pve_json_str(config, "description"), ret))
                return err_set(err, ERR_PRECONDITION,
                               "container %u is no pod's: its description does not say which; nothing is done to it",
                               ct->vmid);
        if (!ret->pod_id[0])
                return err_set(err, ERR_PRECONDITION,
                               "container %u is no pod's yet: it was prepared for one to come; nothing is done to it",
                               ct->vmid);
        if (!str_eq(ret->node, our_node))
                return err_set(err, ERR_PRECONDITION,
                               "container %u belongs to a pod of node %s, this is %s: ask the daemon there", ct->vmid,
                               ret->node, our_node);
        return 0;
}

int owned_find(struct pve *p, const char *our_node, unsigned vmid, const struct pve_until *until, struct owned *ret,
               struct err *err) {
        _cleanup_(pve_ct_list_done) struct pve_ct_list list = { 0 };
        const struct pve_ct_entry *e;
        int r = pve_ct_list(p, until, &list, err);

        if (r < 0)
                return r;
        e = entry_of(&list, vmid);
        if (!e)
                return err_set(err, ERR_NOT_FOUND, "there is no container %u in the cluster, or it may not be seen",
                               vmid);
        if (!claim_has_tag(e->status.tags))
                return err_set(err, ERR_PRECONDITION,
                               "container %u is no pod's: it lacks the tag " CLAIM_TAG "; nothing is done to it", vmid);
        if (strlen(e->ct.node) >= sizeof(ret->node))
                return err_set(err, ERR_INTERNAL, "container %u is on a node with too long a name", vmid);
        *ret = (struct owned){ .vmid = vmid,
                               .running = e->status.running,
                               .template = e->status.template,
                               .managed_by_ha = e->status.managed_by_ha };
        memcpy(ret->node, e->ct.node, strlen(e->ct.node) + 1);
        return read_claim(p, our_node, &e->ct, until, &ret->claim, err);
}
