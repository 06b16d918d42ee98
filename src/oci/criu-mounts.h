/* SPDX-License-Identifier: Apache-2.0 */
/* criu-mounts - which mounts of a container are of the host ("external" to CRIU), when it is dumped and when it is
 * restored. Each has a name of its own in the images: its destination in config.json, or else where it is mounted.
 * Lists live in the caller's arena. Private to oci/. */
#pragma once
#include "oci/config.h"
#include "oci/criu-wire.h"
#include "runtime/cgroup/cgroup.h"

/* Of a running container: where it is mounted -> its name. */
_must_use_ int criu_mounts_of_process(pid_t pid, const struct oci_config *config, struct arena *arena,
                                      const struct criu_pair **ret, size_t *ret_n, struct err *err);
/* Of one to be restored: its name -> what is to be mounted from the host. */
_must_use_ int criu_mounts_of_config(const struct oci_config *config, struct cgroups *cgroups, struct arena *arena,
                                     const struct criu_pair **ret, size_t *ret_n, struct err *err);
/* Folders and files in the root file system to mount on, as far as they are missing: a container's writable layer need
 * not come with the images. */
_must_use_ int criu_mounts_make_targets(const struct oci_config *config, struct err *err);
