/* SPDX-License-Identifier: Apache-2.0 */
/* networks - the networks of all pods of this daemon where they are Proxmox' own: cards with addresses that no other
 * pod of ours has. Thread-safe. Private to proxmox/. */
#pragma once
#include "pve/pve.h"
#include "runtime/proxmox/network.h"

struct networks;

struct networks_args {
        struct pve *pve; /* borrowed, as the next */
        const char *node;
        const struct ct_network_conf *conf;
        /* Calls @found with the net0, which may be NULL, of each of our CTs. */
        int (*each)(void *userdata, const struct pve_until *until,
                    void (*found)(void *to, const char *pod_id, const char *net0), void *to, struct err *err);
        void *userdata;
};

struct networks *networks_new(const struct networks_args *args);
struct networks *networks_free(struct networks *n);

/* Is there any? Otherwise networks are CNI's. */
bool networks_on(const struct networks *n);
/* A card for pod @id, whose addresses are its until networks_forget(). ERR_EXHAUSTED: none is free; ERR_EXISTS: another
 * pod has what this one asks for; ERR_UNIMPLEMENTED: Proxmox VE is too old; those of ct_card_plan(). */
_must_use_ int networks_plan(struct networks *n, const char *id, const struct ct_network_wish *wish,
                             const struct pve_until *until, struct ct_card *ret, struct err *err);
/* Before the first plan: a pod of an earlier daemon has @address. */
void networks_note(struct networks *n, const char *id, const char *address);
/* Has it been given that address, or asked for it? */
bool networks_gave(struct networks *n, const char *id, const struct ip *address);
/* The pod's CT is gone. */
void networks_forget(struct networks *n, const char *id);
