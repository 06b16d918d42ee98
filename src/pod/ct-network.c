/* SPDX-License-Identifier: Apache-2.0 */
/* ct-network - see ct-network.h. */
#include "pod/ct-network.h"

#include <poll.h>
#include "net/addresses.h"
#include "pod/files.h"

enum { WAIT_MS = 10000, PAUSE_FIRST_MS = 10, PAUSE_MAX_MS = 200, NOTE_ARENA_MAX = 64 << 20 };

bool ct_network_is_on(const struct pods *p) {
        return p->cts && cts_have_networks(p->cts);
}

bool ct_network_isolates(const struct pods *p) {
        return p->cts && cts_network(p->cts)->isolate;
}

/* --- what is asked for -------------------------------------------------------------------------------------------- */

static const char *annotation(const CRI(PodSandboxConfig) * config, const char *key) {
        return cri_entries_get(config->annotations, config->n_annotations, key);
}

struct ct_network_wish ct_network_wish(const CRI(PodSandboxConfig) * config, const struct pod_rules *rules) {
        return (struct ct_network_wish){ .address = annotation(config, "proxmox-lxcri.io/address"),
                                         .gateway = annotation(config, "proxmox-lxcri.io/gateway"),
                                         .bridge = annotation(config, "proxmox-lxcri.io/bridge"),
                                         .vlan = annotation(config, "proxmox-lxcri.io/vlan"),
                                         .ingress_rate = rules->ingress_rate,
                                         .egress_rate = rules->egress_rate };
}

int ct_network_check(const struct pods *p, const CRI(PodSandboxConfig) * config, const struct pod_rules *rules,
                     struct err *err) {
        const struct ct_network_wish wish = ct_network_wish(config, rules);
        struct ct_card card;

        if (!ct_network_is_on(p)) {
                if (wish.address || wish.gateway || wish.bridge || wish.vlan)
                        return err_set(err, ERR_PRECONDITION,
                                       "the pod's annotations proxmox-lxcri.io/address, gateway, bridge and vlan are "
                                       "of Proxmox' own networks, but the configuration has no proxmox.network");
                return 0;
        }
        if (rules->n_ports > 0)
                return err_set(err, ERR_UNIMPLEMENTED,
                               "a pod in Proxmox' own network can't have port %d of the host (hostPort): nothing "
                               "forwards it, as the pod has an address of its own on the bridge; use that, or a "
                               "Service, or a runtime handler whose network is CNI's",
                               rules->ports[0].host_port);
        return ct_card_plan(cts_network(p->cts), &wish, &card, err);
}

/* --- what it got -------------------------------------------------------------------------------------------------- */

/* A pod that asked for an address has that; otherwise there is one of IPv4, or of IPv6 where only that is given. */
static bool is_complete(const struct sandbox *s, const struct net_addresses *a) {
        const struct ct_network_conf *conf = cts_network(s->pods->cts);
        bool only_6 = conf->addressing == CT_ADDRESS_STATIC && !conf->ranges[CT_IPV4].first.family;

        return !a->settling && a->n > 0 && (only_6 || a->list[0].family == 4);
}

/* ERR_CANCELLED, ERR_DEADLINE. */
static int rest(const struct pods_ctx *ctx, int ms, struct err *err) {
        struct pollfd fd = { .fd = ctx->cancel_fd, .events = POLLIN };

        if (poll(&fd, 1, ms) > 0)
                return err_set(err, ERR_CANCELLED, "the caller gave up");
        return clock_monotonic_ns() >= ctx->deadline_ns ? err_set(err, ERR_DEADLINE, "the call's time is up") : 0;
}

static int nothing_came(const struct sandbox *s, const struct net_addresses *a, struct err *err) {
        bool dhcp = cts_network(s->pods->cts)->addressing == CT_ADDRESS_DHCP;

        if (a->settling)
                return err_set(err, ERR_UNAVAILABLE,
                               "after %d s container %u can't use its address yet: is it somebody else's, too?",
                               WAIT_MS / 1000, s->ct.vmid);
        return err_set(err, ERR_UNAVAILABLE, "after %d s container %u has no address on " CT_INTERFACE ": %s",
                       WAIT_MS / 1000, s->ct.vmid,
                       dhcp ? "is there a DHCP server on its bridge and VLAN, with addresses left? The container's "
                              "start task in Proxmox has what the client said"
                            : "Proxmox has not set it; the container's start task may say why");
}

static int admit(const struct sandbox *s, const struct pods_ctx *ctx, const char *const *ips, struct err *err) {
        const struct ct_pod pod = { .id = s->id, .pod_namespace = s->config->metadata->namespace_ };
        const struct ct_until until = { .cancel_fd = ctx->cancel_fd, .deadline_ns = ctx->deadline_ns };
        int r = 0;

        for (; *ips && r == 0; ips++)
                r = cts_admit_address(s->pods->cts, &pod, s->ct.vmid, *ips, &until, err);
        return r;
}

int ct_network_wait(struct sandbox *s, const struct pods_ctx *ctx, struct arena *arena, const char *const **ret,
                    struct err *err) {
        uint64_t until_ns = clock_monotonic_ns() + WAIT_MS * 1000000ull;
        const char *netns = pod_ns_file(s, "net", false, arena), **list;
        struct net_addresses found;
        int r, pause_ms = PAUSE_FIRST_MS;

        for (;;) {
                r = net_addresses_read(netns, CT_INTERFACE, &found, err);
                if (r == 0 && is_complete(s, &found))
                        break;
                if (r == 0 && clock_monotonic_ns() >= until_ns)
                        r = nothing_came(s, &found, err);
                if (r == 0)
                        r = rest(ctx, pause_ms, err);
                if (r < 0)
                        return r;
                pause_ms = MIN_OF(2 * pause_ms, (int) PAUSE_MAX_MS);
        }
        list = arena_array(arena, const char *, found.n + 1);
        for (size_t i = 0; i < found.n; i++) {
                char text[IP_TEXT_MAX];

                list[i] = arena_strdup(arena, ip_write(&found.list[i], text));
        }
        *ret = list;
        return s->ct_isolated ? admit(s, ctx, list, err) : 0;
}

void ct_network_note(struct pods *p) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(NOTE_ARENA_MAX);
        struct sandbox **list;
        size_t n;

        if (!ct_network_is_on(p))
                return;
        list = registry_sandboxes(p, arena, &n);
        for (size_t i = 0; i < n; i++) {
                pthread_rwlock_rdlock(&p->lock);
                for (char *const *ip = list[i]->in_ct ? list[i]->ips : NULL; ip && *ip; ip++)
                        cts_note_address(p->cts, list[i]->id, *ip);
                pthread_rwlock_unlock(&p->lock);
                (void) sandbox_unref(list[i]);
        }
}
