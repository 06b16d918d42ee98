/* SPDX-License-Identifier: Apache-2.0 */
/* ip-sets - IP sets of the cluster, one for each Kubernetes namespace, with the addresses of its pods on all nodes.
 * Ours have a comment that begins with IP_SETS_MARK; the comment of a member names node and pod. Nothing else is
 * touched: a set of somebody else's with such a name is an error. Thread-safe. Private to proxmox/. */
#pragma once
#include "base/ip.h"
#include "pve/pve.h"

#define IP_SETS_MARK "proxmox-lxcri"

enum { IP_SETS_NAME_MAX = 65 };

struct ip_sets;

struct ip_sets *ip_sets_new(struct pve *pve, const char *node); /* borrowed */
struct ip_sets *ip_sets_free(struct ip_sets *i);

struct ip_sets_pod {
        const char *id, *pod_namespace;
        unsigned vmid;
};

/* A legal name, another one for each namespace. Pure. */
void ip_sets_name(const char *pod_namespace, char ret[IP_SETS_NAME_MAX]);

/* Makes it if it is not there. ERR_PRECONDITION: it is somebody else's. */
_must_use_ int ip_sets_ensure(struct ip_sets *i, const char *name, const struct pve_until *until, struct err *err);
/* A member of its namespace's set, which is made when it is not there. A pod of this node that had the address before
 * loses it. ERR_PRECONDITION: somebody else has it there. */
_must_use_ int ip_sets_add(struct ip_sets *i, const struct ip_sets_pod *pod, const struct ip *address,
                           const struct pve_until *until, struct err *err);
/* Takes the pod's members out, and the set with the last. Repeatable; nothing there is fine. */
_must_use_ int ip_sets_leave(struct ip_sets *i, const struct ip_sets_pod *pod, const struct pve_until *until,
                             struct err *err);
/* The same for members of this node whose pod nobody knows, in all sets. */
_must_use_ int ip_sets_sweep(struct ip_sets *i, bool (*is_known)(const char *id, void *userdata), void *userdata,
                             const struct pve_until *until, struct err *err);

/* --- for isolation.c ---------------------------------------------------------------------------------------------- */

/* Was it said by Proxmox, about what was asked for, so that looking there tells more? */
bool ip_sets_refused(const struct err *err);
/* The one of @list whose @key is @value, or NULL. */
const json_t *ip_sets_find(const json_t *list, const char *key, const char *value);
