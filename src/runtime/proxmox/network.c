/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/proxmox/network.h"

#include <inttypes.h>
#include <string.h>
#include "base/str.h"

enum { WISH_MAX = 128, VLAN_MAX = 4094 };

#define BYTES_PER_MB (1024.0 * 1024.0) /* as Proxmox counts */

/* --- what pods ask for -------------------------------------------------------------------------------------------- */

static bool may_choose(const struct ct_network_conf *conf, const struct ip *a) {
        bool found = ip_in_range(a, &conf->ranges[ct_family(a)]);

        for (size_t i = 0; i < conf->n_pod_networks && !found; i++)
                found = ip_in(a, &conf->pod_networks[i]);
        return found;
}

static int take_address(const struct ct_network_conf *conf, const char *text, struct ct_card *card, struct err *err) {
        struct ip a, *place;

        if (!ip_parse_cidr(text, &a) || !ip_is_host(&a))
                return err_set(err, ERR_INVALID,
                               "annotation proxmox-lxcri.io/address: \"%.64s\" is no address of a host with the length "
                               "of its network, like 10.20.0.5/24",
                               text);
        place = &card->addresses[ct_family(&a)];
        if (place->family)
                return err_set(err, ERR_INVALID, "annotation proxmox-lxcri.io/address: two addresses of IPv%u",
                               a.family);
        if (!may_choose(conf, &a) || ip_equal(&a, &conf->gateways[ct_family(&a)]))
                return err_set(err, ERR_DENIED,
                               "annotation proxmox-lxcri.io/address: pods may not choose \"%.64s\"; the configuration "
                               "says which they may: proxmox.network.pods-may-choose.addresses",
                               text);
        *place = a;
        return 0;
}

static int take_gateway(const struct ct_network_conf *conf, const char *text, struct ct_card *card, struct err *err) {
        const struct ip *net;
        struct ip a;

        if (!ip_parse(text, &a) || !ip_is_host(&a))
                return err_set(err, ERR_INVALID, "annotation proxmox-lxcri.io/gateway: \"%.64s\" is no address", text);
        net = &card->addresses[ct_family(&a)];
        if (!net->family)
                net = &conf->ranges[ct_family(&a)].first;
        if (!ip_in(&a, net) || ip_equal(&a, &card->addresses[ct_family(&a)]))
                return err_set(err, ERR_INVALID,
                               "annotation proxmox-lxcri.io/gateway: \"%.64s\" is not in the network of the pod's "
                               "address",
                               text);
        if (card->gateways[ct_family(&a)].family)
                return err_set(err, ERR_INVALID, "annotation proxmox-lxcri.io/gateway: two of IPv%u", a.family);
        card->gateways[ct_family(&a)] = a;
        return 0;
}

/* Calls @take for each of at most two that a comma separates. */
static int take_each(const struct ct_network_conf *conf, const char *name, const char *text,
                     int (*take)(const struct ct_network_conf *, const char *, struct ct_card *, struct err *),
                     struct ct_card *card, struct err *err) {
        char part[WISH_MAX];
        int r = 0;

        if (!text)
                return 0;
        if (strlen(text) >= sizeof(part))
                return err_set(err, ERR_INVALID, "annotation proxmox-lxcri.io/%s is too long", name);
        while (r == 0) {
                size_t n = strcspn(text, ",");

                memcpy(part, text, n);
                part[n] = '\0';
                r = take(conf, part, card, err);
                if (!text[n])
                        break;
                text += n + 1;
        }
        return r;
}

static int take_bridge(const struct ct_network_conf *conf, const char *name, struct ct_card *card, struct err *err) {
        for (const char *const *b = conf->pod_bridges; b && *b; b++)
                if (str_eq(*b, name))
                        card->bridge = *b;
        if (!str_eq(card->bridge, name))
                return err_set(err, ERR_DENIED,
                               "annotation proxmox-lxcri.io/bridge: pods may not choose \"%.64s\"; the configuration "
                               "says which they may: proxmox.network.pods-may-choose.bridges",
                               name);
        return 0;
}

static int take_vlan(const struct ct_network_conf *conf, const char *text, struct ct_card *card, struct err *err) {
        bool allowed = false;
        uint64_t vlan;

        if (!str_to_u64(text, &vlan) || vlan < 1 || vlan > VLAN_MAX)
                return err_set(err, ERR_INVALID, "annotation proxmox-lxcri.io/vlan: \"%.64s\" is not 1 to %d", text,
                               VLAN_MAX);
        for (size_t i = 0; i < conf->n_pod_vlans; i++)
                allowed = allowed || (vlan >= conf->pod_vlans[i].first && vlan <= conf->pod_vlans[i].last);
        if (!allowed && vlan != card->vlan)
                return err_set(err, ERR_DENIED,
                               "annotation proxmox-lxcri.io/vlan: pods may not choose %" PRIu64
                               "; the configuration says which they may: proxmox.network.pods-may-choose.vlans",
                               vlan);
        card->vlan = (unsigned) vlan;
        return 0;
}

/* Kubernetes' limits for each way; Proxmox has one for both. */
static int take_rate(const struct ct_network_wish *wish, struct ct_card *card, struct err *err) {
        double asked = (double) wish->ingress_rate / 8 / BYTES_PER_MB;

        if (wish->ingress_rate != wish->egress_rate)
                return err_set(err, ERR_UNIMPLEMENTED,
                               "annotations kubernetes.io/ingress-bandwidth and egress-bandwidth: in Proxmox' own "
                               "network both have to be the same, as a card has one limit for both ways");
        if (asked > 0 && (card->rate == 0 || asked < card->rate))
                card->rate = asked;
        return 0;
}

/* --- together ----------------------------------------------------------------------------------------------------- */

/* Where the pod has an address, but names no gateway: the configuration's, if it is of that network. */
static void settle_gateways(const struct ct_network_conf *conf, struct ct_card *card) {
        for (size_t i = 0; i < CT_FAMILIES; i++)
                if (card->addresses[i].family && !card->gateways[i].family && conf->gateways[i].family &&
                    ip_in(&conf->gateways[i], &card->addresses[i]))
                        card->gateways[i] = conf->gateways[i];
}

int ct_card_plan(const struct ct_network_conf *conf, const struct ct_network_wish *wish, struct ct_card *ret,
                 struct err *err) {
        struct ct_card card = { .bridge = conf->bridge,
                                .vlan = conf->vlan,
                                .mtu = conf->mtu,
                                .rate = conf->rate,
                                .firewall = conf->firewall };
        int r = take_each(conf, "address", wish->address, take_address, &card, err);

        if (r == 0)
                r = take_each(conf, "gateway", wish->gateway, take_gateway, &card, err);
        if (r == 0 && wish->bridge)
                r = take_bridge(conf, wish->bridge, &card, err);
        if (r == 0 && wish->vlan)
                r = take_vlan(conf, wish->vlan, &card, err);
        if (r == 0)
                r = take_rate(wish, &card, err);
        if (r < 0)
                return r;
        settle_gateways(conf, &card);
        card.dhcp = conf->addressing == CT_ADDRESS_DHCP && !card.addresses[CT_IPV4].family;
        *ret = card;
        return 0;
}

void ct_card_give(struct ct_card *card, const struct ct_network_conf *conf, const struct ip *address) {
        card->addresses[ct_family(address)] = *address;
        settle_gateways(conf, card);
}

/* --- as Proxmox has it -------------------------------------------------------------------------------------------- */

void ct_card_write(const struct ct_card *card, struct strbuf *to) {
        static const char *const address_keys[] = { "ip", "ip6" }, *const gateway_keys[] = { "gw", "gw6" };
        char text[IP_TEXT_MAX];

        strbuf_printf(to, "name=" CT_INTERFACE ",bridge=%s,host-managed=1", card->bridge);
        for (size_t i = 0; i < CT_FAMILIES; i++) {
                if (card->addresses[i].family)
                        strbuf_printf(to, ",%s=%s", address_keys[i], ip_write_cidr(&card->addresses[i], text));
                else if (i == CT_IPV4 && card->dhcp)
                        strbuf_puts(to, ",ip=dhcp");
                if (card->gateways[i].family)
                        strbuf_printf(to, ",%s=%s", gateway_keys[i], ip_write(&card->gateways[i], text));
        }
        if (card->vlan)
                strbuf_printf(to, ",tag=%u", card->vlan);
        if (card->mtu)
                strbuf_printf(to, ",mtu=%u", card->mtu);
        if (card->rate > 0)
                strbuf_printf(to, ",rate=%.6f", card->rate);
        if (card->firewall)
                strbuf_puts(to, ",firewall=1");
}

size_t ct_card_addresses(const char *net0, struct ip ret[CT_FAMILIES]) {
        size_t n = 0;

        for (const char *at = net0; at && *at && n < CT_FAMILIES; at += strcspn(at, ","), at += *at == ',') {
                const char *value = str_after(at, "ip=") ?: str_after(at, "ip6=");
                size_t len = value ? strcspn(value, ",") : 0;
                char text[IP_TEXT_MAX];

                if (len == 0 || len >= sizeof(text))
                        continue;
                memcpy(text, value, len);
                text[len] = '\0';
                n += ip_parse_cidr(text, &ret[n]);
        }
        return n;
}
