/* SPDX-License-Identifier: Apache-2.0 */
/* net - pod namespaces and pod networks: makes network, IPC and UTS namespaces held by bind mounts, and runs CNI
 * plug-ins in them (CNI spec 1.1). Thread-safe; calls block. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/id-map.h"

/* --- namespaces ----------------------------------------------------------------------------------------------------
 */

struct netns_args {
        const char *dir;            /* folder for the files "net", "ipc", "uts", "user"; made if missing */
        bool net, ipc, uts;         /* which to make; the others get no file */
        const struct id_maps *user; /* a user namespace with these ids, which then owns the others; NULL: the host's */
        const char *hostname;       /* for uts, may be NULL */
        const char *const
                *sysctls; /* "net.ipv4.ip_forward", "1", ..., NULL: written inside the new namespaces; may be NULL */
};
/* Makes the namespaces in a short-lived thread (with a user namespace: child, see userns.h), brings lo up, writes
 * sysctls, binds them to files. On failure nothing stays. */
_must_use_ int netns_create(const struct netns_args *args, struct err *err);
/* The same with the namespaces of a process (named by its start time, too) that others made, instead of new ones; @args
 * says which: user is only asked whether there is one. ERR_PRECONDITION: the process has ended. */
_must_use_ int netns_adopt(const struct netns_args *args, pid_t pid, uint64_t start_time, struct err *err);
/* Unmounts and removes the files and the folder; missing is fine. */
_must_use_ int netns_remove(const char *dir, struct err *err);

/* --- CNI ------------------------------------------------------------------------------------------------------------
 */

struct cni; /* configuration folder, read live; plug-in folders */

struct cni_port {
        const char *protocol; /* "tcp" "udp" "sctp" */
        int container_port, host_port;
        const char *host_ip;
};
struct cni_pod {
        const char *id, *name, *pod_namespace, *uid; /* sandbox id and pod identity, for CNI_ARGS */
        const char *netns_path;                      /* NULL or missing file on DEL: the namespace is gone already */
        const char *cgroup_path;                     /* may be NULL */
        const struct cni_port *ports;
        size_t n_ports; /* those with host_port 0 are left out */
        const char *const *dns_servers, *const *dns_searches, *const *dns_options; /* NULL-terminated or NULL */
        int64_t ingress_rate, egress_rate; /* bits/s from the pod's bandwidth annotations, 0: none */
};
struct cni_result {
        const char *
                *ips; /* addresses without prefix length, eth0's, IPv4 first as the plug-ins said; NULL-terminated */
        const char *cached; /* JSON: what cni_del() needs (config used, prevResult): keep it in the pod's record */
        bool held;          /* of a failed ADD that could not be undone: cni_del() is due all the same */
};

_must_use_ int cni_new(const char *conf_dir, const char *bin_dirs /* colon separated */, struct cni **ret,
                       struct err *err);
struct cni *cni_free(struct cni *c);
DEFINE_CLEANUP(struct cni *, cni_free)
/* Time that one plug-in may take (60 s by default). Before the first call. */
void cni_set_timeout(struct cni *c, uint64_t timeout_ms);
/* A file from which cni_set_pod_cidr() makes the configuration; NULL: none. Before the first call. */
void cni_set_template(struct cni *c, const char *path);
/* The node's pod ranges, "CIDR" or "CIDR,CIDR" of both families, as the kubelet says them; "" says nothing. Where there
 * is a template and no configuration but the one made from it, that is made, or made anew. ERR_INVALID for bad ranges,
 * ERR_PRECONDITION for a template that can't be used. Repeatable. */
_must_use_ int cni_set_pod_cidr(struct cni *c, const char *pod_cidr, struct err *err);
/* Is there a usable network configuration, with its plug-ins present? ERR_PRECONDITION with the reason when not. */
_must_use_ int cni_status(struct cni *c, struct err *err);
/* The chosen configuration's name and the file, for Status(verbose). */
_must_use_ int cni_describe(struct cni *c, struct arena *arena, const char **ret_json, struct err *err);
/* loopback and the chosen network as eth0. On failure everything it did has been undone by DEL, unless
 * @ret says that it is held. */
_must_use_ int cni_add(struct cni *c, const struct cni_pod *pod, struct arena *arena, struct cni_result *ret,
                       struct err *err);
/* Repeatable; uses @cached (may be NULL: the current configuration). */
_must_use_ int cni_del(struct cni *c, const struct cni_pod *pod, const char *cached, struct err *err);
/* Plug-ins for pod @id that a daemon before this one started and that still run: waits so long for their end, then
 * kills them. Call before cni_del() of a pod that was in the making. */
void cni_end_strays(const char *id, int patience_ms);
