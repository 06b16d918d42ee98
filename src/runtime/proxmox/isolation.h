/* SPDX-License-Identifier: Apache-2.0 */
/* isolation - pods that only those of their own Kubernetes namespace, and whom the configuration lets through, can
 * reach, by Proxmox' firewall: a pod's CT drops what comes in, but for what a rule accepts from its namespace's IP set
 * (ip-sets.h). A member is there before the pod runs its first app, and goes before its CT does, so that who gets the
 * address next is not taken for it. Thread-safe. Private to proxmox/. */
#pragma once
#include "runtime/proxmox/ip-sets.h"
#include "runtime/proxmox/network.h"

struct isolation;

struct isolation *isolation_new(struct pve *pve, const char *node, const struct ct_network_conf *conf); /* borrowed */
struct isolation *isolation_free(struct isolation *i);

/* Between the making of a CT and its start: its firewall, and the addresses that @card has. ERR_PRECONDITION: the
 * cluster's firewall is off, or a set or member of that name is somebody else's. */
_must_use_ int isolation_prepare(struct isolation *i, const struct ip_sets_pod *pod, const struct ct_card *card,
                                 const struct pve_until *until, struct err *err);
/* Of a pod that runs: an address that it was given by others (DHCP). */
_must_use_ int isolation_admit(struct isolation *i, const struct ip_sets_pod *pod, const struct ip *address,
                               const struct pve_until *until, struct err *err);
/* Takes its members out, and the set with the last. Repeatable; nothing there is fine. */
_must_use_ int isolation_leave(struct isolation *i, const struct ip_sets_pod *pod, const struct pve_until *until,
                               struct err *err);
/* The same for members of this node whose pod nobody knows. */
_must_use_ int isolation_sweep(struct isolation *i, bool (*is_known)(const char *id, void *userdata), void *userdata,
                               const struct pve_until *until, struct err *err);
