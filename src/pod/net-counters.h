/* SPDX-License-Identifier: Apache-2.0 */
/* net-counters - what pods' network interfaces count. They are read in the pod's namespace by a thread that lives for
 * one call: a namespace is a thread's, and a worker must not come back in a foreign one. Private to pod/. */
#pragma once
#include "pod/registry.h"

#define DEFAULT_INTERFACE "eth0"
enum { NET_INTERFACES_MAX = 64 };

struct net_interface {
        char name[16]; /* never "lo" */
        uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped, tx_bytes, tx_packets, tx_errors, tx_dropped;
};

struct net_counters {
        struct net_interface *list;
        size_t n; /* 0: on the host's network, which is no pod's, or being stopped */
};

/* Fills @ret, one for each of the @n pods of @list, in @arena. Opens files and switches namespaces. */
_must_use_ int net_counters_read(struct sandbox *const *list, size_t n, struct arena *arena, struct net_counters *ret,
                                 struct err *err);
/* The counters of @name, NULL when there is no such interface. */
const struct net_interface *net_counters_find(const struct net_counters *c, const char *name);
/* @text: /proc/net/dev. Returns how many interfaces, at most @max, are in @ret; lines of another form are left out. */
size_t net_counters_parse(const char *text, struct net_interface *ret, size_t max);
