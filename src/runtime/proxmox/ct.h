/* SPDX-License-Identifier: Apache-2.0 */
/* ct - Proxmox containers (CTs) as sandboxes of pods: made, watched and removed through the API of Proxmox VE, each
 * unprivileged, with nothing but our init in it (init/ct.h). A pod's app containers are the lxc engine's; they join the
 * CT's namespaces and live below its cgroup. Thread-safe; operations block, those on one pod one at a time.
 *
 * Whose a CT is: ours have the tag, and a description that names node and pod. Before anything but making is done to a
 * CT, that is read again: a number may have become somebody else's. Errors are those of pve/, whose kinds are kept. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/id-map.h"
#include "runtime/proxmox/network.h"

struct cgroups;
struct cts;
struct pve;

struct cts_args {
        struct pve *pve; /* borrowed, as the next */
        const struct cgroups *cgroups;
        const char *node;               /* ours, as the cluster names it */
        const char *storage;            /* of root file systems */
        const char *rootfs_size;        /* GiB, as Proxmox takes it: "0.125", "0" for a folder without quota */
        bool layers;                    /* writable layers are on them, see layers.h */
        uint64_t max_disk_bytes;        /* with layers: what ct_pod may ask for */
        const char *template_file;      /* proxmox-lxcri-sandbox.tar.gz here ... */
        const char *template_storage;   /* ... and the storage that it is uploaded to */
        const char *pool;               /* NULL: none */
        uint32_t vmid_first, vmid_last; /* ours alone */
        unsigned warm_pool;             /* CTs that are kept ready for pods to come (warm.h) */
        uint64_t timeout_ms;            /* of one operation */
        struct ct_network_conf network; /* what it points to is borrowed */
        /* A CT has ended, whoever ended it. From a thread of ours; must not block. */
        void (*ended)(const char *pod_id, void *userdata);
        void *userdata;
};

_must_use_ int cts_new(const struct cts_args *args, struct cts **ret, struct err *err);
struct cts *cts_free(struct cts *c); /* CTs live on */
DEFINE_CLEANUP(struct cts *, cts_free)

/* What all of a pod together may use. */
struct ct_limits {
        int64_t memory_bytes; /* 0: as much as the node has */
        int64_t swap_bytes;   /* beside it */
        double cpus;          /* 0: no limit */
        uint64_t cpu_shares;  /* as of cgroup v1; 0: not said */
};

/* What a pod asks for; strings as Kubernetes has them. */
struct ct_pod {
        const char *id, *name, *pod_namespace, *uid;
        const char *hostname; /* what its processes see; the CT's own if that can be so named */
        struct ct_limits limits;
        struct ct_network_wish network;
        uint64_t disk_bytes; /* of its root file system; 0: as rootfs_size says */
};

/* One that runs. */
struct ct {
        uint32_t vmid;       /* 0: none */
        pid_t pid;           /* of its first process, here */
        uint64_t start_time; /* with pid: names the process for good */
};

struct ct_until {
        int cancel_fd;        /* readable: give up; -1: none */
        uint64_t deadline_ns; /* CLOCK_MONOTONIC; UINT64_MAX: only the time that operations have at most */
};

/* Have CTs networks of Proxmox' own? Then each has a card, CT_INTERFACE, and CNI has no part in it. */
bool cts_have_networks(const struct cts *c);
const struct ct_network_conf *cts_network(const struct cts *c);
/* Before the first cts_create(): a pod of an earlier daemon has this address. */
void cts_note_address(struct cts *c, const char *pod_id, const char *address);

/* Of a pod that runs: with isolation, an address that it has got from others than us is let through to its namespace.
 */
_must_use_ int cts_admit_address(struct cts *c, const struct ct_pod *pod, uint32_t vmid, const char *address,
                                 const struct ct_until *until, struct err *err);
/* Before cts_remove(), of a pod that was isolated: its addresses are its namespace's no more. Repeatable. */
_must_use_ int cts_leave_namespace(struct cts *c, const char *pod_id, const char *pod_namespace,
                                   const struct ct_until *until, struct err *err);
/* The same for all that nobody knows of. */
_must_use_ int cts_sweep_namespaces(struct cts *c, bool (*is_known)(const char *pod_id, void *userdata), void *userdata,
                                    const struct ct_until *until, struct err *err);

/* The ids of every CT: users and groups 0 to 65535 are 100000 and up, which Proxmox gives unprivileged ones. */
extern const struct id_map ct_id_range;
/* "/lxc/123" */
const char *ct_cgroup_path(uint32_t vmid, struct arena *arena);

/* Are writable layers on the CTs' root file systems (@ret_max_bytes: the largest that a pod may ask for; may be NULL)?
 */
bool cts_have_layers(const struct cts *c, uint64_t *ret_max_bytes);

/* Makes and starts the CT of a pod, and sees that it runs. Its end is told from now on. On failure there may be one all
 * the same: @ret has its number then, or 0 when it is not known, for cts_remove(). */
_must_use_ int cts_create(struct cts *c, const struct ct_pod *pod, const struct ct_until *until, struct ct *ret,
                          struct err *err);
/* Starts a pod's CT, @ct->vmid, that has been stopped: @ct is what runs now. As cts_create() in all else. */
_must_use_ int cts_start(struct cts *c, const char *pod_id, const struct ct_until *until, struct ct *ct,
                         struct err *err);
/* Has its first process ended? */
bool ct_has_ended(const struct ct *ct);
/* Is it still the same CT, running? Then its end is told from now on: for a daemon that was started anew. */
bool cts_adopt(struct cts *c, const char *pod_id, const struct ct *ct);
/* New limits for a running one. ERR_PRECONDITION: it is not there any more, or not ours. */
_must_use_ int cts_set_limits(struct cts *c, const char *pod_id, uint32_t vmid, const struct ct_limits *limits,
                              const struct ct_until *until, struct err *err);
/* Ends and removes a pod's CT; @vmid 0: not known, looked for. Missing, or no longer ours: fine. */
_must_use_ int cts_remove(struct cts *c, const char *pod_id, uint32_t vmid, const struct ct_until *until,
                          struct err *err);
/* The same in the background, for one that a pod was to have before it got another. */
void cts_discard(struct cts *c, const char *pod_id, uint32_t vmid);
struct ct_owner {
        uint32_t vmid;
        const char *pod_id;
};
/* Our CTs and the pods that they name, whether they run or not. The first time those that were prepared for pods to
 * come are taken up, or removed when they can't be used; from then on there is a pool of them. */
_must_use_ int cts_list(struct cts *c, const struct ct_until *until, struct arena *arena, struct ct_owner **ret,
                        size_t *ret_n, struct err *err);

struct ct_pool {
        unsigned size, ready;
};
/* Of the warm pool. */
struct ct_pool cts_pool(const struct cts *c);
