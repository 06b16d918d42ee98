/* SPDX-License-Identifier: Apache-2.0 */
/* firewall - Proxmox' firewall: options, rules and IP sets, of one container or of the whole cluster. Nothing of it
 * makes a task. Names of IP sets have 2 to 64 letters, digits, '-' and '_', the first a letter.
 *
 * Paths, below the container's or the cluster's "firewall": "options", "rules", "rules/0", "ipset", "ipset/NAME",
 * "ipset/NAME/10.0.0.1". What is there already or is missing is told by other texts from version to version: whoever
 * must know looks what there is. */
#pragma once
#include "pve/pve.h"

struct pve_firewall {
        const char *node;
        unsigned vmid; /* 0: the cluster's */
};

/* @ret: what is in "data", a list or an object; json_unref() it. */
_must_use_ int pve_firewall_get(struct pve *p, const struct pve_firewall *of, const char *path,
                                const struct pve_until *until, json_t **ret, struct err *err);

struct pve_firewall_change {
        const char *method, *path;       /* POST, PUT, DELETE */
        const struct pve_params *params; /* NULL: none */
        bool repeatable;                 /* a second time changes nothing more, or is refused */
        const struct pve_until *until;
};
/* PVE_LOST only of what is not repeatable. Locks are waited for. */
_must_use_ int pve_firewall_change(struct pve *p, const struct pve_firewall *of,
                                   const struct pve_firewall_change *change, struct err *err);
