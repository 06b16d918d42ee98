/* SPDX-License-Identifier: Apache-2.0 */
/* Cards are what configuration and pod say, and nothing that a pod may not choose; addresses are given once. */
#undef NDEBUG
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "runtime/proxmox/addresses.h"
#include "runtime/proxmox/ip-sets.h"
#include "runtime/proxmox/network.h"

static struct ip ip(const char *s) {
        struct ip a;

        assert(ip_parse(s, &a) || ip_parse_cidr(s, &a));
        return a;
}

static struct ip_range range(const char *s) {
        struct ip_range r;

        assert(ip_parse_range(s, &r));
        return r;
}

static const struct ip pod_networks[1] = { { 4, 24, { 10, 9, 0, 0 } } };
static const char *const pod_bridges[] = { "vmbr1", NULL };
static const struct ct_vlans pod_vlans[] = { { 30, 30 }, { 40, 49 } };

static struct ct_network_conf conf_of(enum ct_addressing addressing) {
        struct ct_network_conf conf = { .addressing = addressing,
                                        .bridge = "vmbr0",
                                        .pod_networks = pod_networks,
                                        .n_pod_networks = 1,
                                        .pod_bridges = pod_bridges,
                                        .pod_vlans = pod_vlans,
                                        .n_pod_vlans = ELEMENTSOF(pod_vlans) };

        if (addressing == CT_ADDRESS_STATIC) {
                conf.ranges[CT_IPV4] = range("10.2.0.5-10.2.0.9/24");
                conf.ranges[CT_IPV6] = range("fd00::5-fd00::9/64");
                conf.gateways[CT_IPV4] = ip("10.2.0.1");
                conf.gateways[CT_IPV6] = ip("fd00::1");
        }
        return conf;
}

static void test_cards(void) {
        static const struct {
                enum ct_addressing addressing;
                struct ct_network_wish wish;
                unsigned vlan, mtu;
                double rate;
                bool firewall;
                const char *net0;
        } table[] = {
                { CT_ADDRESS_DHCP, { 0 }, 0, 0, 0, false, "name=eth0,bridge=vmbr0,host-managed=1,ip=dhcp" },
                { CT_ADDRESS_DHCP,
                  { 0 },
                  20,
                  1450,
                  12.5,
                  true,
                  "name=eth0,bridge=vmbr0,host-managed=1,ip=dhcp,tag=20,mtu=1450,rate=12.500000,firewall=1" },
                { CT_ADDRESS_DHCP,
                  { .address = "10.9.0.7/24", .gateway = "10.9.0.1" },
                  0,
                  0,
                  0,
                  false,
                  "name=eth0,bridge=vmbr0,host-managed=1,ip=10.9.0.7/24,gw=10.9.0.1" },
                { CT_ADDRESS_STATIC, { 0 }, 0, 0, 0, false, "name=eth0,bridge=vmbr0,host-managed=1" },
                { CT_ADDRESS_STATIC,
                  { .address = "10.2.0.7/24,fd00::7/64" },
                  0,
                  0,
                  0,
                  false,
                  "name=eth0,bridge=vmbr0,host-managed=1,ip=10.2.0.7/24,gw=10.2.0.1,ip6=fd00::7/64,gw6=fd00::1" },
                { CT_ADDRESS_STATIC,
                  { .address = "10.9.0.7/24" }, /* not of the gateway's network */
                  0,
                  0,
                  0,
                  false,
                  "name=eth0,bridge=vmbr0,host-managed=1,ip=10.9.0.7/24" },
                { CT_ADDRESS_DHCP,
                  { .bridge = "vmbr1", .vlan = "45" },
                  20,
                  0,
                  0,
                  false,
                  "name=eth0,bridge=vmbr1,host-managed=1,ip=dhcp,tag=45" },
                { CT_ADDRESS_DHCP, /* what is so anyway */
                  { .bridge = "vmbr0", .vlan = "20" },
                  20,
                  0,
                  0,
                  false,
                  "name=eth0,bridge=vmbr0,host-managed=1,ip=dhcp,tag=20" },
                { CT_ADDRESS_DHCP,
                  { .ingress_rate = 8 << 20, .egress_rate = 8 << 20 },
                  0,
                  0,
                  5,
                  false,
                  "name=eth0,bridge=vmbr0,host-managed=1,ip=dhcp,rate=1.000000" },
                { CT_ADDRESS_DHCP, /* no more than the configuration gives */
                  { .ingress_rate = 80 << 20, .egress_rate = 80 << 20 },
                  0,
                  0,
                  5,
                  false,
                  "name=eth0,bridge=vmbr0,host-managed=1,ip=dhcp,rate=5.000000" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_strbuf_ struct strbuf text = STRBUF(1000);
                struct ct_network_conf conf = conf_of(table[i].addressing);
                struct ct_card card;
                struct err err;

                conf.vlan = table[i].vlan;
                conf.mtu = table[i].mtu;
                conf.rate = table[i].rate;
                conf.firewall = table[i].firewall;
                assert(ct_card_plan(&conf, &table[i].wish, &card, &err) == 0);
                ct_card_write(&card, &text);
                if (!str_eq(strbuf_str(&text), table[i].net0))
                        (void) printf("%zu: %s\n", i, strbuf_str(&text));
                assert(str_eq(strbuf_str(&text), table[i].net0));
        }
}

static void test_refused(void) {
        static const struct {
                struct ct_network_wish wish;
                enum err_code code;
                const char *word;
        } table[] = {
                { { .address = "" }, ERR_INVALID, "address" },
                { { .address = "10.9.0.7" }, ERR_INVALID, "length of its network" },
                { { .address = "10.9.0.7/33" }, ERR_INVALID, "address" },
                { { .address = "10.9.0.07/24" }, ERR_INVALID, "address" },
                { { .address = "10.9.0.7/24," }, ERR_INVALID, "address" },
                { { .address = " 10.9.0.7/24" }, ERR_INVALID, "address" },
                { { .address = "10.9.0.7/24,bridge=vmbr1" }, ERR_INVALID, "bridge=vmbr1" },
                { { .address = "10.9.0.7/24,10.9.0.8/24" }, ERR_INVALID, "two addresses of IPv4" },
                { { .address = "10.9.0.0/24" }, ERR_INVALID, "address" },
                { { .address = "10.9.0.255/24" }, ERR_INVALID, "address" },
                { { .address = "127.0.0.1/8" }, ERR_INVALID, "address" },
                { { .address = "224.0.0.5/24" }, ERR_INVALID, "address" },
                { { .address = "fe80::1/64" }, ERR_INVALID, "address" },
                { { .address = "::ffff:10.9.0.7/120" }, ERR_INVALID, "address" },
                { { .address = "10.8.0.7/24" }, ERR_DENIED, "pods-may-choose.addresses" },
                { { .address = "10.2.0.1/24" }, ERR_DENIED, "pods-may-choose.addresses" },
                { { .address = "fd01::7/64" }, ERR_DENIED, "pods-may-choose.addresses" },
                { { .gateway = "10.2.0.2/24" }, ERR_INVALID, "gateway" },
                { { .gateway = "10.3.0.1" }, ERR_INVALID, "not in the network" },
                { { .gateway = "10.2.0.2,10.2.0.3" }, ERR_INVALID, "two of IPv4" },
                { { .address = "10.9.0.7/24", .gateway = "10.2.0.1" }, ERR_INVALID, "not in the network" },
                { { .address = "10.9.0.7/24", .gateway = "10.9.0.7" }, ERR_INVALID, "not in the network" },
                { { .bridge = "vmbr2" }, ERR_DENIED, "pods-may-choose.bridges" },
                { { .bridge = "" }, ERR_DENIED, "pods-may-choose.bridges" },
                { { .bridge = "vmbr1,tag=5" }, ERR_DENIED, "pods-may-choose.bridges" },
                { { .vlan = "31" }, ERR_DENIED, "pods-may-choose.vlans" },
                { { .vlan = "0" }, ERR_INVALID, "1 to 4094" },
                { { .vlan = "4095" }, ERR_INVALID, "1 to 4094" },
                { { .vlan = "40,firewall=0" }, ERR_INVALID, "1 to 4094" },
                { { .ingress_rate = 1000 }, ERR_UNIMPLEMENTED, "have to be the same" },
        };
        const struct ct_network_conf conf = conf_of(CT_ADDRESS_STATIC);
        char long_one[400];
        struct ct_card card;
        struct err err;

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                assert(ct_card_plan(&conf, &table[i].wish, &card, &err) == -(int) table[i].code);
                assert(strstr(err.msg, table[i].word));
        }
        memset(long_one, '1', sizeof(long_one) - 1);
        long_one[sizeof(long_one) - 1] = '\0';
        assert(ct_card_plan(&conf, &(struct ct_network_wish){ .address = long_one }, &card, &err) == -ERR_INVALID);
}

static void test_given(void) {
        const struct ct_network_conf conf = conf_of(CT_ADDRESS_STATIC);
        _cleanup_strbuf_ struct strbuf text = STRBUF(1000);
        const struct ip a = ip("10.2.0.6/24");
        struct ip back[CT_FAMILIES];
        struct ct_card card;
        struct err err;

        assert(ct_card_plan(&conf, &(struct ct_network_wish){ .gateway = "10.2.0.2" }, &card, &err) == 0);
        ct_card_give(&card, &conf, &a);
        ct_card_write(&card, &text);
        assert(strstr(strbuf_str(&text), "ip=10.2.0.6/24,gw=10.2.0.2"));
        assert(ct_card_addresses(strbuf_str(&text), back) == 1 && ip_equal(&back[0], &a) && back[0].prefix == 24);
        /* In Proxmox' order, and of others. */
        assert(ct_card_addresses("name=eth0,bridge=b,hwaddr=BC:24:11:6D:26:47,ip6=fd00::7/64,ip=10.0.0.1/8", back) ==
               2);
        assert(back[0].family == 6 && back[1].family == 4);
        assert(ct_card_addresses("name=eth0,ip=dhcp,ip6=auto,gw=10.0.0.1", back) == 0 &&
               ct_card_addresses(NULL, back) == 0);
}

static void test_addresses(void) {
        const struct ip_range r = range("10.2.0.0-10.2.0.4/24");
        const struct ip gateway = ip("10.2.0.1"), none = { 0 };
        struct addresses *a = addresses_new();
        char other[ADDRESSES_ID_MAX];
        struct ip got[8];

        /* Not .0, a network's; not .1, the gateway; not .3, another's. */
        assert(addresses_hold(a, &(struct ip){ 4, 32, { 10, 2, 0, 3 } }, "x", NULL));
        assert(addresses_take(a, &r, &gateway, "p", &got[0]) && addresses_take(a, &r, &gateway, "q", &got[1]));
        assert(!ip_equal(&got[0], &got[1]) && got[0].prefix == 24);
        assert((got[0].bytes[3] == 2 && got[1].bytes[3] == 4) || (got[0].bytes[3] == 4 && got[1].bytes[3] == 2));
        assert(!addresses_take(a, &r, &gateway, "r", &got[2]));
        assert(!addresses_hold(a, &got[0], "r", other) && str_eq(other, "p"));
        assert(addresses_hold(a, &got[0], "p", NULL)); /* again */
        addresses_give_back(a, "p");
        addresses_give_back(a, "nobody");
        assert(addresses_take(a, &r, &gateway, "r", &got[2]) && ip_equal(&got[2], &got[0]));
        (void) addresses_free(a);
        /* One that was given back is not given out at once. */
        a = addresses_new();
        for (size_t i = 0; i < 3; i++) {
                assert(addresses_take(a, &(struct ip_range){ ip("fd00::1:0/64"), ip("fd00::2:0/64") }, &none, "p",
                                      &got[i]));
                addresses_give_back(a, "p");
        }
        assert(!ip_equal(&got[0], &got[1]) && !ip_equal(&got[1], &got[2]) && !ip_equal(&got[0], &got[2]));
        (void) addresses_free(a);
}

enum { THREADS = 4, EACH = 50 };

static struct addresses *shared;

static void *take_many(void *arg) {
        const struct ip_range r = range("10.4.0.1-10.4.0.200/16");
        const struct ip none = { 0 };
        struct ip *got = arg;

        for (size_t i = 0; i < EACH; i++)
                assert(addresses_take(shared, &r, &none, "p", &got[i]));
        return NULL;
}

static void test_at_once(void) {
        struct ip got[THREADS * EACH];
        pthread_t threads[THREADS];

        shared = addresses_new();
        for (size_t i = 0; i < THREADS; i++)
                assert(pthread_create(&threads[i], NULL, take_many, &got[i * EACH]) == 0);
        for (size_t i = 0; i < THREADS; i++)
                assert(pthread_join(threads[i], NULL) == 0);
        for (size_t i = 0; i < ELEMENTSOF(got); i++)
                for (size_t k = 0; k < i; k++)
                        assert(!ip_equal(&got[i], &got[k]));
        shared = addresses_free(shared);
}

static void test_set_names(void) {
        static const char *const namespaces[] = {
                "shop",
                "shop-1",
                "-",
                "Shop",
                "SHOP",
                "",
                "a_b",
                "a b",
                "lxcri-shop",
                "\xc3\xa4",
                "x/../y",
                "a23456789-123456789-123456789-123456789-123456789-12345678", /* 58: as long as it may be as it is */
                "a23456789-123456789-123456789-123456789-123456789-123456789",
                "a23456789-123456789-123456789-123456789-123456789-123456789-12",
                "a23456789-123456789-123456789-123456789-123456789-123456789-13"
        };
        char names[ELEMENTSOF(namespaces)][IP_SETS_NAME_MAX];

        for (size_t i = 0; i < ELEMENTSOF(namespaces); i++) {
                ip_sets_name(namespaces[i], names[i]);
                assert(strlen(names[i]) <= 64 && str_after(names[i], "lxcri"));
                assert(!names[i][strspn(names[i], "abcdefghijklmnopqrstuvwxyz0123456789-_")]);
                for (size_t k = 0; k < i; k++)
                        assert(!str_eq(names[i], names[k]));
        }
        assert(str_eq(names[0], "lxcri-shop") && str_eq(names[11] + strlen("lxcri-"), namespaces[11]));
}

int main(void) {
        test_set_names();
        test_cards();
        test_refused();
        test_given();
        test_addresses();
        test_at_once();
        return 0;
}
