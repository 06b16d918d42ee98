/* SPDX-License-Identifier: Apache-2.0 */
/* cts - what the files of proxmox/ share. Private to them. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "pve/ct.h"
#include "runtime/proxmox/claim.h"
#include "runtime/proxmox/ct.h"

enum { CTS_MOVES_MAX = 3 }; /* that one is followed to other nodes */

struct ends;
struct isolation;
struct networks;
struct vmids;
struct warm;

struct cts {
        struct cts_args args;
        struct ends *ends;
        struct vmids *vmids;
        struct networks *networks;
        struct isolation *isolation;
        struct warm *warm;
        pthread_mutex_t template_lock;
        char *template_volume;   /* once it is known to be on the storage */
        _Atomic unsigned making; /* CTs for pods that are under way */
};

/* Does /etc/subuid or /etc/subgid with this text let root give all of ct_id_range to a container? */
bool ct_ids_granted(const char *subids);
/* The API's word for what is not there must not tell the kubelet that its pod or container is gone. */
static inline int not_a_lookup(struct err *err) {
        if (err->code == ERR_NOT_FOUND)
                err->code = ERR_PRECONDITION;
        return -(int) err->code;
}

/* At most as long as one operation may take. */
struct pve_until cts_until(const struct cts *c, const struct ct_until *until);
/* @ret: "local:vztmpl/...", the caller frees it. */
_must_use_ int cts_find_template(struct cts *c, const struct pve_until *until, char **ret, struct err *err);
/* What a pod asks for, as parameters. @all: also what is not limited, for a CT that may have been. */
void cts_put_limits(const struct cts *c, const struct ct_limits *l, bool all, struct pve_params *to);
/* The name that it has in Proxmox; NULL: that can't be so named. */
const char *cts_hostname(const struct ct_pod *pod);

/* Makes, starts and finds it: all but who it is for. @pod without an id: one that is prepared. @ret has the number as
 * soon as there may be a CT. */
_must_use_ int cts_make(struct cts *c, const struct ct_pod *pod, const struct pve_until *until, struct ct *ret,
                        struct err *err);
/* Calls @found for each CT of ours, also for one that was moved to another node; it stops when that says so. */
typedef bool (*cts_found_fn)(const struct pve_ct *ct, const struct claim *claim, const json_t *config, void *userdata);
_must_use_ int cts_each(struct cts *c, const struct pve_until *until, cts_found_fn found, void *userdata,
                        struct err *err);
/* What the CT's description claims; @ret_ours: it is there, and ours. */
_must_use_ int cts_read_claim(struct cts *c, const struct pve_ct *ct, const struct pve_until *until, struct claim *ret,
                              bool *ret_ours, json_t **ret_config, struct err *err);
/* Ends and removes it, whosever it is. @ret_missing: it is not there, though it may be elsewhere by now. */
_must_use_ int cts_destroy(struct cts *c, const struct pve_ct *ct, const struct pve_until *until, bool *ret_missing,
                           struct err *err);

/* --- cards.c ------------------------------------------------------------------------------------------------------ */

/* As networks_args has it. */
_must_use_ int cts_each_network(void *c, const struct pve_until *until,
                                void (*found)(void *to, const char *pod_id, const char *net0), void *to,
                                struct err *err);
/* The pod's net0, of which @ret tells; nothing where networks are CNI's, or @pod is to be known later. */
_must_use_ int cts_put_network(struct cts *c, const struct ct_pod *pod, const struct pve_until *until,
                               struct ct_card *ret, struct pve_params *to, struct err *err);
/* Before its start, if pods are isolated. */
_must_use_ int cts_isolate(struct cts *c, const struct ct_pod *pod, uint32_t vmid, const struct ct_card *card,
                           const struct pve_until *until, struct err *err);
