/* SPDX-License-Identifier: Apache-2.0 */
/* user-ns - a pod's own user namespace: made with its other namespaces (net/userns.h), held by <state>/ns/<id>/user.
 * Private to pod/. */
#pragma once
#include "pod/registry.h"

/* -1 when the pod has the host's. */
_must_use_ int user_ns_open(const struct sandbox *s, int *ret_fd, struct err *err);
/* Who the pod's root is on the host. */
void user_ns_root(const struct sandbox *s, uint32_t *ret_uid, uint32_t *ret_gid);
/* Does this host offer them: the kernel, the file system of images' layers, and that of @state, which stands for those
 * of kubelet's volumes in memory? What is missing is said in @err. Makes one for the test. */
_must_use_ int user_ns_check(struct images *images, const char *state, struct err *err);
