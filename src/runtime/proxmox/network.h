/* SPDX-License-Identifier: Apache-2.0 */
/* network - the network card of a pod's CT where the network is Proxmox' own: what the configuration says and what the
 * pod asks for, as the value of net0. Proxmox sets the addresses itself (host-managed), since our init does nothing of
 * that kind. Whoever writes pods is not trusted: what they may choose stands in the configuration. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/ip.h"
#include "base/strbuf.h"

#define CT_INTERFACE "eth0"

enum ct_addressing {
        CT_ADDRESS_CNI, /* no card: CNI plug-ins make the network */
        CT_ADDRESS_DHCP,
        CT_ADDRESS_STATIC,
};

enum { CT_IPV4, CT_IPV6, CT_FAMILIES };

static inline size_t ct_family(const struct ip *a) {
        return a->family == 6 ? CT_IPV6 : CT_IPV4;
}

struct ct_vlans {
        unsigned first, last;
};

struct ct_network_conf {
        enum ct_addressing addressing;
        const char *bridge;                  /* or a vnet */
        unsigned vlan, mtu;                  /* 0: not said */
        double rate;                         /* MB/s, each way; 0: no limit */
        bool firewall;                       /* of Proxmox, for the card */
        bool isolate;                        /* pods of other namespaces don't get through; with firewall */
        struct ip_range ranges[CT_FAMILIES]; /* of addresses that are this node's to give; static only */
        struct ip gateways[CT_FAMILIES];     /* family 0: none */
        const struct ip *accept_from;        /* who gets through all the same: networks */
        size_t n_accept_from;
        /* What pods may choose. */
        const struct ip *pod_networks;
        size_t n_pod_networks;
        const char *const *pod_bridges; /* NULL-terminated; NULL: none */
        const struct ct_vlans *pod_vlans;
        size_t n_pod_vlans;
};

/* What a pod asks for, as it says so in its annotations; NULL: nothing. */
struct ct_network_wish {
        const char *address, *gateway; /* "10.0.0.5/24", "10.0.0.1"; both families: with a comma between */
        const char *bridge, *vlan;
        int64_t ingress_rate, egress_rate; /* bits/s; 0: not said */
};

struct ct_card {
        const char *bridge; /* borrowed from configuration or wish */
        unsigned vlan, mtu;
        double rate;
        bool firewall, dhcp;
        struct ip addresses[CT_FAMILIES], gateways[CT_FAMILIES]; /* family 0: none */
};

/* Checks the wish and puts both together. Addresses are those that the pod asked for; with static ones others are to be
 * given. ERR_INVALID: it is no address (...); ERR_DENIED: the configuration does not let pods choose that. */
_must_use_ int ct_card_plan(const struct ct_network_conf *conf, const struct ct_network_wish *wish, struct ct_card *ret,
                            struct err *err);
/* An address from the node's range, with its gateway. */
void ct_card_give(struct ct_card *card, const struct ct_network_conf *conf, const struct ip *address);
/* "name=eth0,bridge=vmbr0,host-managed=1,ip=..." */
void ct_card_write(const struct ct_card *card, struct strbuf *to);
/* The addresses in such a value, of which Proxmox may have changed the order; others than ours are read, too. Returns
 * how many are in @ret. */
size_t ct_card_addresses(const char *net0, struct ip ret[CT_FAMILIES]);
