/* SPDX-License-Identifier: Apache-2.0 */
/* ct - pods whose home is a Proxmox container: what such a one can't do, and its making; see runtime/proxmox/ct.h.
 * Private to pod/. */
#pragma once
#include "pod/registry.h"
#include "pod/rules.h"

/* What an unprivileged CT can't do is ERR_UNIMPLEMENTED with why, and which handler can. */
_must_use_ int ct_rules_check(const struct pods *p, const CRI(PodSandboxConfig) * config, const struct pod_rules *rules,
                              struct err *err);
_must_use_ int ct_container_rules_check(const struct sandbox *s, const CRI(ContainerConfig) * config, struct err *err);

/* Under the pod's lock. The CT runs (one that there is already is started), its namespaces are held as those of other
 * pods, the pod's cgroup is its. What it made is taken down by ct_take_down(). */
_must_use_ int ct_bring_up(struct sandbox *s, const struct pods_ctx *ctx, const struct pod_rules *rules,
                           const struct netns_args *namespaces, struct err *err);
/* As the pod's resources and overhead are now. */
_must_use_ int ct_update_limits(struct sandbox *s, const struct pods_ctx *ctx, struct err *err);
_must_use_ int ct_take_down(struct sandbox *s, struct err *err);
/* In the background, when the daemon starts: removes CTs of ours of which no pod knows. Proxmox may come later than we,
 * so it is tried until it is done. */
void ct_sweep(struct pods *p);
/* Does it still run? At the start of the daemon. */
bool ct_lives(struct sandbox *s);
/* The AppArmor profile that its processes have; NULL: none. */
_must_use_ int ct_apparmor_profile(const struct sandbox *s, struct arena *arena, const char **ret, struct err *err);
