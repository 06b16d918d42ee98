/* SPDX-License-Identifier: Apache-2.0 */
/* rules - what a pod's configuration asks for, checked and in our terms. Pure: no I/O, so tests are tables.
 * What is asked and can't be done is refused here, never left out silently. Private to pod/. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "net/net.h"
#include "pod/cri.h"

struct pod_rules {
        bool host_network, host_ipc, host_pid; /* the host's UTS namespace goes with its network */
        bool shared_pid;                       /* one PID namespace for the pod: needs a pause process */
        bool privileged;
        bool own_user;              /* a user namespace of the pod's own, whose user and group ids are user_ids */
        struct id_map user_ids;     /* inside is 0, outside is not */
        const char *const *sysctls; /* key, value, ..., NULL */
        const struct cni_port *ports;
        size_t n_ports;
        int64_t ingress_rate, egress_rate; /* bits/s, 0: none */
        const char *cgroup_parent;         /* clean and absolute */
};

_must_use_ int pod_rules_check(const CRI(PodSandboxConfig) * config, const char *default_cgroup_parent,
                               struct arena *arena, struct pod_rules *ret, struct err *err);

/* What @config, checked before, says of a user namespace: false when the pod has the host's. */
bool pod_user_ids(const CRI(PodSandboxConfig) * config, struct id_map *ret);

/* Does a container's request fit its pod: namespaces, privileged, what is not there yet. */
_must_use_ int container_rules_check(const CRI(ContainerConfig) * config, const CRI(PodSandboxConfig) * pod,
                                     struct err *err);

/* "1M", "1.5Gi", "100k", "8e6": a Kubernetes quantity in whole units, rounded up. False on anything else or overflow.
 */
_must_use_ bool quantity_parse(const char *s, int64_t *ret);

/* An absolute path without ".", "..", "//" and a trailing "/"; NULL when @path is not absolute. Lexical. */
const char *path_clean(struct arena *arena, const char *path);
