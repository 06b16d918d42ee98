/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"

bool ip_parse(const char *s, struct ip *ret) {
        struct ip a = { 0 };

        if (inet_pton(AF_INET, s, a.bytes) == 1)
                a.family = 4;
        else if (inet_pton(AF_INET6, s, a.bytes) == 1)
                a.family = 6;
        else
                return false;
        a.prefix = (uint8_t) ip_bits(&a);
        *ret = a;
        return true;
}

bool ip_parse_cidr(const char *s, struct ip *ret) {
        const char *slash = strchr(s, '/');
        char address[IP_TEXT_MAX];
        uint64_t prefix;
        struct ip a;

        if (!slash || (size_t) (slash - s) >= sizeof(address) || strlen(slash + 1) > 3 ||
            !str_to_u64(slash + 1, &prefix))
                return false;
        memcpy(address, s, (size_t) (slash - s));
        address[slash - s] = '\0';
        if (!ip_parse(address, &a) || prefix > ip_bits(&a))
                return false;
        a.prefix = (uint8_t) prefix;
        *ret = a;
        return true;
}

bool ip_parse_range(const char *s, struct ip_range *ret) {
        const char *dash = strchr(s, '-');
        char first[IP_TEXT_MAX];
        struct ip_range r;

        if (!dash || (size_t) (dash - s) >= sizeof(first))
                return false;
        memcpy(first, s, (size_t) (dash - s));
        first[dash - s] = '\0';
        if (!ip_parse(first, &r.first) || !ip_parse_cidr(dash + 1, &r.last) || r.first.family != r.last.family)
                return false;
        r.first.prefix = r.last.prefix;
        if (!ip_in(&r.first, &r.last) || ip_compare(&r.first, &r.last) > 0)
                return false;
        *ret = r;
        return true;
}

const char *ip_write(const struct ip *a, char *ret) {
        if (!inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->bytes, ret, IP_TEXT_MAX))
                ret[0] = '\0';
        return ret;
}

const char *ip_write_cidr(const struct ip *a, char *ret) {
        size_t n = strlen(ip_write(a, ret));

        (void) snprintf(ret + n, IP_TEXT_MAX - n, "/%u", a->prefix);
        return ret;
}

int ip_compare(const struct ip *a, const struct ip *b) {
        return a->family != b->family ? (int) a->family - (int) b->family
                                      : memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static bool bit_at(const struct ip *a, unsigned i) {
        return a->bytes[i / 8] & (0x80u >> i % 8);
}

bool ip_in(const struct ip *a, const struct ip *net) {
        if (a->family != net->family)
                return false;
        for (unsigned i = 0; i < net->prefix; i++)
                if (bit_at(a, i) != bit_at(net, i))
                        return false;
        return true;
}

bool ip_in_range(const struct ip *a, const struct ip_range *r) {
        return r->first.family == a->family && ip_compare(&r->first, a) <= 0 && ip_compare(a, &r->last) <= 0;
}

/* Are all bits behind the prefix so? */
static bool rest_is(const struct ip *a, bool value) {
        for (unsigned i = a->prefix; i < ip_bits(a); i++)
                if (bit_at(a, i) != value)
                        return false;
        return true;
}

bool ip_is_host(const struct ip *a) {
        static const char *const not_hosts[] = { "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3",
                                                 "::/96",     "fe80::/10",   "ff00::/8",       "::ffff:0:0/96" };
        struct ip net;

        for (size_t i = 0; i < ELEMENTSOF(not_hosts); i++)
                if (ip_parse_cidr(not_hosts[i], &net) && ip_in(a, &net))
                        return false;
        /* The first and, of IPv4, the last address of a network are not a host's, unless it has only these. */
        if (ip_bits(a) - a->prefix < 2)
                return a->family != 0;
        return a->family != 0 && !rest_is(a, false) && !(a->family == 4 && rest_is(a, true));
}

struct ip ip_add(const struct ip *a, uint64_t n) {
        struct ip sum = *a;

        for (unsigned i = ip_bits(a) / 8; i-- > 0 && n;) {
                n += sum.bytes[i];
                sum.bytes[i] = (uint8_t) n;
                n >>= 8;
        }
        return sum;
}

uint32_t ip_range_size(const struct ip_range *r) {
        unsigned len = ip_bits(&r->first) / 8;
        uint64_t size = 0;

        /* Digit by digit; the first that differs is larger, so that it never gets negative. */
        for (unsigned i = 0; i < len && size < UINT32_MAX; i++)
                size = size * 256 + r->last.bytes[i] - r->first.bytes[i];
        return size >= UINT32_MAX ? UINT32_MAX : (uint32_t) size + 1;
}
