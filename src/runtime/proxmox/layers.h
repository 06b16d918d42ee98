/* SPDX-License-Identifier: Apache-2.0 */
/* layers - folders for containers' writable layers on the root file system of a pod's CT: /containers/ID there. It is
 * mounted nowhere on the host, so they are reached through the CT's first process. The CT's root owns what is there and
 * may have changed it: nothing is followed out of it, neither by links nor into other mounts. docs/decisions/0018.
 * Thread-safe. A CT that has ended: ERR_PRECONDITION. Whoever holds one of the descriptors keeps the volume busy for
 * Proxmox, so none is held for long. */
#pragma once
#include "runtime/proxmox/ct.h"

/* Makes the empty folder of container @id. */
_must_use_ int ct_layer_create(const struct ct *ct, const char *id, int *ret_fd, struct err *err);
/* It once more, or with @name a folder in it. */
_must_use_ int ct_layer_open(const struct ct *ct, const char *id, const char *name, int *ret_fd, struct err *err);
/* It as a detached mount, which can be attached in other mount namespaces. */
_must_use_ int ct_layer_clone(const struct ct *ct, const char *id, int *ret_mount_fd, struct err *err);
/* Ids of all there are, NULL-terminated; none when there is no such folder yet. */
_must_use_ int ct_layer_list(const struct ct *ct, struct arena *arena, const char ***ret, struct err *err);
/* With all that is in it. A CT that has ended is fine: it goes with that. */
_must_use_ int ct_layer_remove(const struct ct *ct, const char *id, struct err *err);
