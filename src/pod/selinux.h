/* SPDX-License-Identifier: Apache-2.0 */
/* selinux - the SELinux labels of a pod and its containers: what was asked for, over what the policy has for
 * containers, with categories of the pod's own. Empty labels where SELinux is off. Private to pod/. */
#pragma once
#include "pod/registry.h"

/* The host's labels for containers, at start. */
void pods_selinux_init(struct pods *p, bool wanted);

/* The pod's label, before anyone else can see it. ERR_INVALID for options that the policy does not know. */
_must_use_ int sandbox_choose_label(struct sandbox *s, struct err *err);
/* The container's, from its pod's: of its processes, and of the files it may use. */
_must_use_ int container_choose_labels(struct container *c, struct arena *arena, struct err *err);
/* The labels of the pod's own process and its root; NULL when it has none. */
_must_use_ int pause_labels(const struct sandbox *s, struct arena *arena, const char **ret_process,
                            const char **ret_file, struct err *err);
/* What containers are given of the pod's files becomes theirs. */
_must_use_ int container_label_files(const struct container *c, const char *const *paths, struct err *err);
