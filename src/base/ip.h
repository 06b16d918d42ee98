/* SPDX-License-Identifier: Apache-2.0 */
/* ip - IPv4 and IPv6 addresses, networks and ranges: read strictly, written, compared. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/attr.h"

enum { IP_TEXT_MAX = 64 };

struct ip {
        uint8_t family;    /* 4 or 6; 0: none */
        uint8_t prefix;    /* of its network, in bits; where there is no network: all of the address */
        uint8_t bytes[16]; /* of IPv4 the first four, the others are 0 */
};

struct ip_range {
        struct ip first, last; /* of one family, and with the network's prefix; first.family 0: no range */
};

static inline unsigned ip_bits(const struct ip *a) {
        return a->family == 4 ? 32 : 128;
}

/* "10.0.0.5", "fd00::5"; as inet_pton() takes them, so no zeros in front, no scope. */
_must_use_ bool ip_parse(const char *s, struct ip *ret);
/* The same with "/24" behind. */
_must_use_ bool ip_parse_cidr(const char *s, struct ip *ret);
/* "10.0.0.100-10.0.0.199/24": both ends of one network, first before last. */
_must_use_ bool ip_parse_range(const char *s, struct ip_range *ret);

/* Without the prefix; @ret has IP_TEXT_MAX bytes. Returns @ret. */
const char *ip_write(const struct ip *a, char *ret);
/* With it. */
const char *ip_write_cidr(const struct ip *a, char *ret);

/* By family and bytes; the order of numbers. */
int ip_compare(const struct ip *a, const struct ip *b);
static inline bool ip_equal(const struct ip *a, const struct ip *b) {
        return ip_compare(a, b) == 0;
}
/* Is @a in the network that @net names? */
bool ip_in(const struct ip *a, const struct ip *net);
bool ip_in_range(const struct ip *a, const struct ip_range *r);
/* Can a host have it: none of a network, broadcast, loopback, link or multicast, and not 0? By its own prefix. */
bool ip_is_host(const struct ip *a);
/* @a + @n, which may leave its network. */
struct ip ip_add(const struct ip *a, uint64_t n);
/* How many addresses @r has, UINT32_MAX at most. */
uint32_t ip_range_size(const struct ip_range *r);
