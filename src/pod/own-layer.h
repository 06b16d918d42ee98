/* SPDX-License-Identifier: Apache-2.0 */
/* own-layer - a container's writable layer: in a folder of image/'s on the node, or with sandbox->layers_in_ct on the
 * root file system of the pod's Proxmox container (runtime/proxmox/layers.h). Private to pod/. */
#pragma once
#include <sys/statvfs.h>
#include "pod/registry.h"

/* How large the pod's Proxmox container is to be for them, by its annotation: the kubelet tells a runtime nothing of
 * limits of ephemeral-storage. @ret 0: as configured. */
_must_use_ int own_layer_size(const struct pods *p, const CRI(PodSandboxConfig) * config, uint64_t *ret,
                              struct err *err);

/* These five under the pod's lock. */
_must_use_ int own_layer_create(struct container *c, const char *image_id, struct err *err);
/* @ret_fd: a detached mount of image and layer, with the pod's user namespace (-1: none). */
_must_use_ int own_layer_mount(struct container *c, int userns_fd, int *ret_fd, struct err *err);
/* After the pod's Proxmox container was stopped and started: where it is now. One that is not there any more, as by a
 * rollback to a time before it was made, begins anew. */
_must_use_ int own_layer_renew(struct container *c, struct err *err);
/* Removes those in the pod's Proxmox container that none of its containers has: a rollback brings some back. */
_must_use_ int own_layer_sweep(struct sandbox *s, struct arena *arena, struct err *err);
/* Missing is fine. */
_must_use_ int own_layer_remove(struct container *c, struct err *err);

/* Its upper folder in the pod's Proxmox container, for reading; -1: it is on the node. */
_must_use_ int own_layer_open_upper(struct container *c, int *ret_fd, struct err *err);

/* What it takes on disk; walks it. Given up with ERR_CANCELLED when the daemon stops, or Proxmox may want the volume.
 */
_must_use_ int own_layer_measure(struct container *c, uint64_t *ret_bytes, uint64_t *ret_inodes, struct err *err);
/* The file system that it is on, when that is not the one of images. */
bool own_layer_fs(const struct container *c, struct statvfs *ret);
/* Where the file system that it is on can be looked at from the host. */
const char *own_layer_mountpoint(const struct container *c, struct arena *arena);
