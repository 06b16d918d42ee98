/* SPDX-License-Identifier: Apache-2.0 */
/* config-network - the key proxmox.network. */
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"
#include "daemon/config-keys.h"

enum { ENTRIES_MAX = 64, NAME_MAX_LEN = 15, VLAN_MAX = 4094, MTU_MIN = 576, MTU_MAX = 65535, RATE_MAX = 1000000 };

/* Where it is read to. */
struct reader {
        struct config *c;
        struct ct_network_conf *to;
        const struct config_place *at;
        const struct yaml_node *node;
        /* Of what pods may choose: the same lists as @to's. */
        struct ip *pod_networks;
        const char **pod_bridges;
        struct ct_vlans *pod_vlans;
        struct ip *accept_from; /* the same */
};

/* Calls @take for each entry of a list, or for the value itself. */
static int each(const struct reader *r, int (*take)(const struct reader *r, const char *text, struct err *err),
                struct err *err) {
        const struct yaml_node *n = r->node;
        size_t count = 0;
        int result = 0;

        if (n->kind != YAML_LIST) {
                result = config_scalar_of(n, r->at, err);
                return result < 0 ? result : take(r, n->text, err);
        }
        for (const struct yaml_node *m = n->child; m && result == 0; m = m->next) {
                if (++count > ENTRIES_MAX)
                        return config_bad(r->at, err, "more than %d entries", ENTRIES_MAX);
                result = config_scalar_of(m, r->at, err);
                if (result == 0)
                        result = take(r, m->text, err);
        }
        return result;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static int check_bridge(const struct config_place *p, const char *s, struct err *err) {
        size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

        return n == 0 || s[n] || n > NAME_MAX_LEN
                       ? config_bad(p, err, "expected the name of a bridge or vnet, like vmbr0, found '%.40s'", s)
                       : 0;
}

static int number(const struct config_place *p, const char *s, unsigned min, unsigned max, unsigned *ret,
                  struct err *err) {
        uint64_t v;

        if (!str_to_u64(s, &v) || v < min || v > max)
                return config_bad(p, err, "expected %u to %u, found '%.40s'", min, max, s);
        *ret = (unsigned) v;
        return 0;
}

static int take_bridge(const struct reader *r, const char *s, struct err *err) {
        r->to->bridge = s;
        return check_bridge(r->at, s, err);
}

static int take_vlan(const struct reader *r, const char *s, struct err *err) {
        return number(r->at, s, 1, VLAN_MAX, &r->to->vlan, err);
}

static int take_mtu(const struct reader *r, const char *s, struct err *err) {
        return number(r->at, s, MTU_MIN, MTU_MAX, &r->to->mtu, err);
}

static int take_rate(const struct reader *r, const char *s, struct err *err) {
        size_t n = strspn(s, "0123456789.");
        char *end;
        double v = strtod(s, &end);

        if (n == 0 || s[n] || *end || !(v > 0 && v <= RATE_MAX))
                return config_bad(r->at, err, "expected megabytes a second, like 12.5, found '%.40s'", s);
        r->to->rate = v;
        return 0;
}

static int take_firewall(const struct reader *r, const char *s, struct err *err) {
        return config_set_bool(r->at, s, &r->to->firewall, err);
}

static int take_isolate(const struct reader *r, const char *s, struct err *err) {
        return config_set_bool(r->at, s, &r->to->isolate, err);
}

static int take_accepted(const struct reader *r, const char *s, struct err *err) {
        if (!ip_parse_cidr(s, &r->accept_from[r->to->n_accept_from]))
                return config_bad(r->at, err, "expected a network, like 10.20.0.0/28, found '%.64s'", s);
        r->to->n_accept_from++;
        return 0;
}

static int take_addressing(const struct reader *r, const char *s, struct err *err) {
        static const char *const names[] = {
                [CT_ADDRESS_CNI] = "cni", [CT_ADDRESS_DHCP] = "dhcp", [CT_ADDRESS_STATIC] = "static"
        };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (str_eq(s, names[i])) {
                        r->to->addressing = (enum ct_addressing) i;
                        return 0;
                }
        if (str_eq(s, "sdn"))
                return config_bad(r->at, err,
                                  "for addresses from SDN's IPAM name the vnet as bridge, and dhcp here: its zone's "
                                  "DHCP server gives what the IPAM has assigned");
        return config_bad(r->at, err, "expected cni, dhcp or static, found '%.40s'", s);
}

static int take_range(const struct reader *r, const char *s, struct err *err) {
        struct ip_range range, *place;

        if (!ip_parse_range(s, &range) || !(ip_is_host(&range.first) || ip_is_host(&range.last)))
                return config_bad(r->at, err,
                                  "expected first and last address and the length of their network, like "
                                  "10.20.0.100-10.20.0.199/24, found '%.80s'",
                                  s);
        place = &r->to->ranges[ct_family(&range.first)];
        if (place->first.family)
                return config_bad(r->at, err, "there is room for one range of IPv%u", range.first.family);
        *place = range;
        return 0;
}

static int take_gateway(const struct reader *r, const char *s, struct err *err) {
        struct ip a, *place;

        if (!ip_parse(s, &a) || !ip_is_host(&a))
                return config_bad(r->at, err, "expected an address, like 10.20.0.1, found '%.64s'", s);
        place = &r->to->gateways[ct_family(&a)];
        if (place->family)
                return config_bad(r->at, err, "there is room for one gateway of IPv%u", a.family);
        *place = a;
        return 0;
}

/* --- what pods may choose ----------------------------------------------------------------------------------------- */

static int take_pod_network(const struct reader *r, const char *s, struct err *err) {
        if (!ip_parse_cidr(s, &r->pod_networks[r->to->n_pod_networks]))
                return config_bad(r->at, err, "expected a network, like 10.20.0.0/24, found '%.64s'", s);
        r->to->n_pod_networks++;
        return 0;
}

static int take_pod_bridge(const struct reader *r, const char *s, struct err *err) {
        r->pod_bridges[strv_len(r->pod_bridges)] = s;
        return check_bridge(r->at, s, err);
}

static int take_pod_vlan(const struct reader *r, const char *s, struct err *err) {
        struct ct_vlans *v = &r->pod_vlans[r->to->n_pod_vlans++];
        const char *dash = strchr(s, '-');
        char first[16];
        int n;

        (void) snprintf(first, sizeof(first), "%.*s", dash ? (int) MIN_OF(dash - s, 15) : 15, s);
        n = number(r->at, first, 1, VLAN_MAX, &v->first, err);
        v->last = v->first;
        if (n == 0 && dash)
                n = number(r->at, dash + 1, v->first, VLAN_MAX, &v->last, err);
        return n;
}

/* A map of lists. */
static int read_choices(const struct reader *r, struct err *err) {
        struct config_place at = *r->at;
        size_t prefix = strlen(at.key);
        struct reader below = *r;
        int n = 0;

        if (r->node->kind != YAML_MAP)
                return config_bad(r->at, err, "expected a mapping with addresses, bridges or vlans, found %s",
                                  yaml_kind_name(r->node->kind));
        r->to->pod_networks = below.pod_networks = arena_array(r->c->arena, struct ip, ENTRIES_MAX);
        r->to->pod_bridges = below.pod_bridges = arena_array(r->c->arena, const char *, ENTRIES_MAX + 1);
        r->to->pod_vlans = below.pod_vlans = arena_array(r->c->arena, struct ct_vlans, ENTRIES_MAX);
        below.at = &at;
        for (const struct yaml_node *m = r->node->child; m && n == 0; m = m->next) {
                below.node = m;
                at.line = m->line;
                (void) snprintf(at.key + prefix, sizeof(at.key) - prefix, ".%.20s", m->key);
                n = str_eq(m->key, "addresses") ? each(&below, take_pod_network, err)
                    : str_eq(m->key, "bridges") ? each(&below, take_pod_bridge, err)
                    : str_eq(m->key, "vlans")
                            ? each(&below, take_pod_vlan, err)
                            : config_bad(&at, err, "unknown key; there are addresses, bridges and vlans");
        }
        return n;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static const struct {
        const char *key;
        int (*take)(const struct reader *r, const char *text, struct err *err);
        bool many;
} keys[] = {
        { "bridge", take_bridge, false },
        { "vlan", take_vlan, false },
        { "mtu", take_mtu, false },
        { "rate", take_rate, false },
        { "firewall", take_firewall, false },
        { "address", take_addressing, false },
        { "addresses", take_range, true },
        { "gateways", take_gateway, true },
        { "isolate-namespaces", take_isolate, false },
        { "accept-from", take_accepted, true },
};

static int read_key(const struct reader *r, struct err *err) {
        int n;

        if (str_eq(r->node->key, "pods-may-choose"))
                return read_choices(r, err);
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                if (!str_eq(r->node->key, keys[i].key))
                        continue;
                if (keys[i].many)
                        return each(r, keys[i].take, err);
                n = config_scalar_of(r->node, r->at, err);
                return n < 0 ? n : keys[i].take(r, r->node->text, err);
        }
        return config_bad(r->at, err,
                          "unknown key; network has bridge, vlan, mtu, rate, firewall, address, addresses, gateways, "
                          "isolate-namespaces, accept-from and pods-may-choose");
}

static int check(const struct ct_network_conf *n, const struct config_place *p, struct err *err) {
        bool has_range = n->ranges[CT_IPV4].first.family || n->ranges[CT_IPV6].first.family;

        if (n->addressing == CT_ADDRESS_CNI)
                return n->bridge || has_range
                               ? config_bad(p, err,
                                            "address is cni, so that nothing else here has a meaning: give dhcp or "
                                            "static")
                               : 0;
        if (!n->bridge)
                return config_bad(p, err, "bridge is missing: one of the node's, or a vnet of SDN");
        if (n->addressing == CT_ADDRESS_STATIC && !has_range)
                return config_bad(p, err,
                                  "addresses is missing: those that this node may give, like "
                                  "10.20.0.100-10.20.0.199/24");
        if (n->addressing == CT_ADDRESS_DHCP && has_range)
                return config_bad(p, err, "addresses is for address: static");
        if (n->isolate && !n->firewall)
                return config_bad(p, err, "isolate-namespaces is done by Proxmox' firewall: it needs firewall: true");
        if (n->isolate && n->n_accept_from == 0)
                return config_bad(
                        p, err, "isolate-namespaces needs accept-from: at least the nodes, whose kubelets probe pods");
        if (n->n_accept_from > 0 && !n->isolate)
                return config_bad(p, err, "accept-from is for isolate-namespaces: true");
        for (size_t i = 0; i < CT_FAMILIES; i++)
                if (n->ranges[i].first.family && n->gateways[i].family && !ip_in(&n->gateways[i], &n->ranges[i].first))
                        return config_bad(p, err, "the gateway of IPv%u is not in the network of its addresses",
                                          n->gateways[i].family);
        return 0;
}

int config_read_network(struct config *c, const struct yaml_node *n, const struct config_place *p, struct err *err) {
        struct ct_network_conf *to = &c->proxmox.network;
        struct config_place at = *p;
        struct reader reader = { .c = c, .to = to, .at = &at };
        size_t prefix = strlen(at.key);
        int r;

        to->accept_from = reader.accept_from = arena_array(c->arena, struct ip, ENTRIES_MAX);
        if (n->kind != YAML_MAP)
                return config_bad(p, err, "expected a mapping with bridge, address and others, found %s",
                                  yaml_kind_name(n->kind));
        for (const struct yaml_node *m = n->child; m; m = m->next) {
                at.line = m->line;
                (void) snprintf(at.key + prefix, sizeof(at.key) - prefix, ".%.40s", m->key);
                reader.node = m;
                r = read_key(&reader, err);
                if (r < 0)
                        return r;
        }
        return check(to, p, err);
}
