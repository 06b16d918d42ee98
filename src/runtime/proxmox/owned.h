/* SPDX-License-Identifier: Apache-2.0 */
/* owned - is a Proxmox container one that this node's daemon made for a pod? What is not is none of our business,
 * whoever asks; where it is now does not matter. */
#pragma once
#include "pve/ct.h"
#include "runtime/proxmox/claim.h"

struct owned {
        char node[CLAIM_NODE_MAX]; /* where it is */
        unsigned vmid;
        bool running, template, managed_by_ha;
        struct claim claim;
};

/* Two requests. ERR_NOT_FOUND: there is none of that number; ERR_PRECONDITION says why it is not ours. */
_must_use_ int owned_find(struct pve *p, const char *our_node, unsigned vmid, const struct pve_until *until,
                          struct owned *ret, struct err *err);
