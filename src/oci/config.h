/* SPDX-License-Identifier: Apache-2.0 */
/* config - a bundle's config.json as a spec. Everything lives in the caller's arena. Unknown properties are ignored; a
 * value that is malformed, or that no runtime can carry out, is ERR_INVALID and named by its path in the file
 * ("linux.resources.memory.limit: ..."). Of the host nothing is looked at but its capabilities and, for sysctls,
 * whether a namespace of a path is our own. Thread-safe. Source: OCI runtime-spec 1.3, config.md and config-linux.md.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"
#include "oci/intel-rdt.h"
#include "runtime/spec/spec.h"

enum { OCI_CONFIG_MAX_BYTES = 8 << 20 };

struct oci_config {
        /* Not set: id, rootfs_mount_fd, cgroup_path, process.seccomp, source_fd of mounts (-1). Namespaces that the
         * file doesn't list are neither made nor have a path: the runtime's own are kept. The process' user is numbers.
         */
        struct spec spec;
        const char *oci_version;
        const char *bundle;                    /* absolute, without symlinks */
        const char *root_path;                 /* absolute: joined to the bundle */
        const char *cgroups_path;              /* as it stands; NULL: not given */
        bool has_process;                      /* else create works and start fails */
        const char *seccomp;                   /* linux.seccomp as JSON text; NULL: none */
        const struct oci_intel_rdt *intel_rdt; /* NULL: none */
        const char *process_text;              /* process as JSON text: what an exec starts from; NULL: none */
        /* Capabilities that the kernel lacks and other things that are left out, for the log; NULL-terminated. */
        const char *const *warnings;
};

/* @bundle: its folder, relative or absolute. */
_must_use_ int oci_config_load(const char *bundle, struct arena *arena, struct oci_config *ret, struct err *err);
/* The same from text; @bundle is only joined to paths. */
_must_use_ int oci_config_parse(const char *text, size_t len, const char *bundle, struct arena *arena,
                                struct oci_config *ret, struct err *err);
/* A "process" by itself, as "exec --process" takes it. @ret is filled anew. */
_must_use_ int oci_process_parse(const char *text, size_t len, struct arena *arena, struct spec_process *ret,
                                 struct err *err);
/* "linux.resources" by itself, as "update --resources" takes it. @ret is filled anew. */
_must_use_ int oci_resources_parse(const char *text, size_t len, struct arena *arena, struct spec_resources *ret,
                                   struct err *err);
/* "1.2.0": is it a version that we can do, 1.x up to our own? */
bool oci_version_is_known(const char *version);
#define OCI_VERSION SPEC_OCI_VERSION
