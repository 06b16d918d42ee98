/* SPDX-License-Identifier: Apache-2.0 */
/* cards - the part of ct.h that is about networks of Proxmox' own. */
#include "base/str.h"
#include "runtime/proxmox/cts.h"
#include "runtime/proxmox/isolation.h"
#include "runtime/proxmox/networks.h"

enum { NET0_MAX = 1024 };

struct network_walk {
        void (*found)(void *to, const char *pod_id, const char *net0);
        void *to;
};

static bool tell_network(const struct pve_ct *ct, const struct claim *claim, const json_t *config, void *userdata) {
        const struct network_walk *w = userdata;

        (void) ct;
        if (!claim->pod_id[0])
                return false;
        w->found(w->to, claim->pod_id, pve_json_str(config, "net0"));
        return false;
}

int cts_each_network(void *userdata, const struct pve_until *until,
                     void (*found)(void *to, const char *pod_id, const char *net0), void *to, struct err *err) {
        return cts_each(userdata, until, tell_network, &(struct network_walk){ found, to }, err);
}

bool cts_have_networks(const struct cts *c) {
        return networks_on(c->networks);
}

const struct ct_network_conf *cts_network(const struct cts *c) {
        return &c->args.network;
}

void cts_note_address(struct cts *c, const char *pod_id, const char *address) {
        networks_note(c->networks, pod_id, address);
}

/* @ret: as it was, where there are no such networks. */
int cts_put_network(struct cts *c, const struct ct_pod *pod, const struct pve_until *until, struct ct_card *ret,
                    struct pve_params *to, struct err *err) {
        _cleanup_strbuf_ struct strbuf net0 = STRBUF(NET0_MAX);
        int r;

        if (!networks_on(c->networks) || !pod->id)
                return 0;
        r = networks_plan(c->networks, pod->id, &pod->network, until, ret, err);
        if (r < 0)
                return r;
        ct_card_write(ret, &net0);
        pve_param(to, "net0", strbuf_str(&net0));
        return 0;
}

int cts_isolate(struct cts *c, const struct ct_pod *pod, uint32_t vmid, const struct ct_card *card,
                const struct pve_until *until, struct err *err) {
        const struct ip_sets_pod p = { pod->id, pod->pod_namespace, vmid };

        return c->args.network.isolate && pod->id ? isolation_prepare(c->isolation, &p, card, until, err) : 0;
}

int cts_admit_address(struct cts *c, const struct ct_pod *pod, uint32_t vmid, const char *address,
                      const struct ct_until *until, struct err *err) {
        const struct ip_sets_pod p = { pod->id, pod->pod_namespace, vmid };
        const struct pve_until pve_until = cts_until(c, until);
        struct ip a;

        if (!c->args.network.isolate || !ip_parse(address, &a) || networks_gave(c->networks, pod->id, &a))
                return 0;
        return isolation_admit(c->isolation, &p, &a, &pve_until, err) < 0 ? not_a_lookup(err) : 0;
}

int cts_leave_namespace(struct cts *c, const char *pod_id, const char *pod_namespace, const struct ct_until *until,
                        struct err *err) {
        const struct ip_sets_pod p = { .id = pod_id, .pod_namespace = pod_namespace };
        const struct pve_until pve_until = cts_until(c, until);

        return isolation_leave(c->isolation, &p, &pve_until, err) < 0 ? not_a_lookup(err) : 0;
}

int cts_sweep_namespaces(struct cts *c, bool (*is_known)(const char *pod_id, void *userdata), void *userdata,
                         const struct ct_until *until, struct err *err) {
        const struct pve_until pve_until = cts_until(c, until);

        if (!c->args.network.isolate)
                return 0;
        return isolation_sweep(c->isolation, is_known, userdata, &pve_until, err) < 0 ? not_a_lookup(err) : 0;
}
