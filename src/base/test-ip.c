/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <string.h>
#include "base/ip.h"
#include "base/str.h"

static void test_parse(void) {
        static const char *const bad[] = { "",         "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1 ", "fe80::1%1",
                                           "fd00:::1", "x",      "10.0.0.1/8", "1.2.3.4.5", "::g",       "-1.0.0.0" };
        static const char *const bad_cidr[] = { "10.0.0.1",    "10.0.0.1/",    "10.0.0.1/33",
                                                "10.0.0.1/-1", "10.0.0.1/08x", "fd00::/129",
                                                "/8",          "10.0.0.1/8/8", "10.0.0.1/0000000008" };
        static const char *const bad_range[] = {
                "10.0.0.1/24",         "10.0.0.1-10.0.0.2", "10.0.0.2-10.0.0.1/24",    "10.0.0.1-10.0.1.1/24",
                "10.0.0.1-fd00::1/64", "-10.0.0.1/24",      "10.0.0.1/24-10.0.0.2/24", "10.0.0.1--10.0.0.2/24"
        };
        char text[IP_TEXT_MAX];
        struct ip_range r;
        struct ip a;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert(!ip_parse(bad[i], &a));
        for (size_t i = 0; i < ELEMENTSOF(bad_cidr); i++)
                assert(!ip_parse_cidr(bad_cidr[i], &a));
        for (size_t i = 0; i < ELEMENTSOF(bad_range); i++)
                assert(!ip_parse_range(bad_range[i], &r));
        assert(ip_parse("10.0.0.5", &a) && a.family == 4 && a.prefix == 32 && str_eq(ip_write(&a, text), "10.0.0.5"));
        assert(ip_parse("FD00:0::5", &a) && a.family == 6 && a.prefix == 128 && str_eq(ip_write(&a, text), "fd00::5"));
        assert(ip_parse_cidr("fd00::5/64", &a) && str_eq(ip_write_cidr(&a, text), "fd00::5/64"));
        assert(ip_parse_range("10.0.0.1-10.0.0.9/24", &r) && r.first.prefix == 24 && r.last.bytes[3] == 9);
}

static struct ip cidr(const char *s) {
        struct ip a;

        assert(ip_parse_cidr(s, &a));
        return a;
}

static void test_relations(void) {
        static const char *const hosts[] = { "10.0.0.5/24",    "10.0.0.1/31", "10.0.0.0/32",
                                             "10.0.0.0/31",    "fd00::5/64",  "fd00::ffff:ffff:ffff:ffff/64",
                                             "2001:db8::1/127" };
        static const char *const not_hosts[] = { "10.0.0.0/24",       "10.0.0.255/24", "0.0.0.1/8",
                                                 "127.0.0.1/32",      "224.0.0.1/24",  "255.255.255.255/32",
                                                 "169.254.1.1/16",    "fd00::/64",     "fe80::1/64",
                                                 "ff02::1/64",        "::1/128",       "::/0",
                                                 "::ffff:1.2.3.4/128" };
        struct ip a = cidr("10.0.0.5/24"), net = cidr("10.0.0.0/24"), all = cidr("0.0.0.0/0"), v6 = cidr("::/0");

        assert(ip_in(&a, &net) && ip_in(&a, &all) && !ip_in(&a, &v6));
        net = cidr("10.0.1.0/24");
        assert(!ip_in(&a, &net));
        net = cidr("10.0.0.4/31");
        assert(ip_in(&a, &net));
        for (size_t i = 0; i < ELEMENTSOF(hosts); i++) {
                a = cidr(hosts[i]);
                assert(ip_is_host(&a));
        }
        for (size_t i = 0; i < ELEMENTSOF(not_hosts); i++) {
                a = cidr(not_hosts[i]);
                assert(!ip_is_host(&a));
        }
        assert(!ip_is_host(&(struct ip){ 0 }));
}

static void test_ranges(void) {
        char text[IP_TEXT_MAX];
        struct ip_range r;
        struct ip a;

        assert(ip_parse_range("10.0.0.250-10.0.1.5/16", &r) && ip_range_size(&r) == 12);
        a = ip_add(&r.first, 11);
        assert(ip_equal(&a, &r.last) && ip_in_range(&a, &r));
        a = ip_add(&r.first, 12);
        assert(!ip_in_range(&a, &r));
        assert(ip_parse_range("10.0.0.1-10.0.0.1/24", &r) && ip_range_size(&r) == 1);
        assert(ip_parse_range("fd00::ff-fd00::100/64", &r) && ip_range_size(&r) == 2);
        assert(ip_parse_range("fd00::-fd00::ffff:ffff:ffff:ffff/64", &r) && ip_range_size(&r) == UINT32_MAX);
        assert(ip_parse_range("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/0", &r) && ip_range_size(&r) == UINT32_MAX);
        assert(ip_parse("fd00::ffff:ffff", &a));
        a = ip_add(&a, 1);
        assert(str_eq(ip_write(&a, text), "fd00::1:0:0"));
        assert(ip_parse("255.255.255.255", &a));
        a = ip_add(&a, 1);
        assert(str_eq(ip_write(&a, text), "0.0.0.0"));
}

int main(void) {
        test_parse();
        test_relations();
        test_ranges();
        return 0;
}
