/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp - linux.seccomp of a bundle as the filter of the container's processes. Compiling takes milliseconds, so
 * filters are kept in files (seccomp-cache.h). Where the OCI runtime's program does it, libseccomp is loaded only for
 * one that is not there (libseccomp.c). Source: OCI runtime-spec 1.3, config-linux.md#seccomp. */
#pragma once
#include "oci/config.h"
#include "oci/oci.h"

/* Fills @p's seccomp..., which live in @o's arena; no linux.seccomp: leaves them. ERR_INVALID: the profile is wrong, or
 * this host can't do what it asks for; also where it needs a listener and none is given. */
_must_use_ int oci_seccomp_load(const struct oci *o, const struct oci_config *config, struct spec_process *p,
                                struct err *err);
