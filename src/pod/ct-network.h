/* SPDX-License-Identifier: Apache-2.0 */
/* ct-network - pods in Proxmox containers whose network is Proxmox' own: what they may ask for, and their addresses,
 * which are read in their network namespace. Private to pod/. */
#pragma once
#include "pod/registry.h"
#include "pod/rules.h"

/* Is that so of pods in Proxmox containers? Then CNI has no part in it. */
bool ct_network_is_on(const struct pods *p);
/* What its annotations ask for; borrows from @config. */
struct ct_network_wish ct_network_wish(const CRI(PodSandboxConfig) * config, const struct pod_rules *rules);
/* What can't be done there is refused with the reason: ports of the host, annotations. */
_must_use_ int ct_network_check(const struct pods *p, const CRI(PodSandboxConfig) * config,
                                const struct pod_rules *rules, struct err *err);
/* Under the pod's lock, with its CT running: waits until it has the addresses that it is to have, a DHCP server's too.
 * @ret: all, IPv4 first, NULL-terminated. ERR_UNAVAILABLE: it got none. */
_must_use_ int ct_network_wait(struct sandbox *s, const struct pods_ctx *ctx, struct arena *arena,
                               const char *const **ret, struct err *err);
/* Are pods of other namespaces kept away from those in Proxmox containers? */
bool ct_network_isolates(const struct pods *p);
/* When the daemon starts: addresses of pods that are there are nobody else's. */
void ct_network_note(struct pods *p);
