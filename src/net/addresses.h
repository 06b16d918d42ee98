/* SPDX-License-Identifier: Apache-2.0 */
/* addresses - which addresses an interface of a pod's network namespace has. Blocks for a moment; thread-safe. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"
#include "base/ip.h"

enum { NET_ADDRESSES_MAX = 32 };

struct net_addresses {
        struct ip list[NET_ADDRESSES_MAX]; /* IPv4 first; none of the link (fe80::) */
        size_t n;
        bool settling; /* whether one is nobody else's is still being found out: it can't be used yet */
};

/* @netns: the namespace's file. ERR_PRECONDITION: it is gone. No such interface: no addresses. */
_must_use_ int net_addresses_read(const char *netns, const char *interface, struct net_addresses *ret, struct err *err);
/* Adds those of @text, /proc/net/if_inet6, that are @interface's. */
void net_addresses_parse_inet6(const char *text, const char *interface, struct net_addresses *to);
