/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp - system call filters as BPF programs: the runtime's default profile, and profiles in the JSON format of OCI
 * and Docker. Compiled by libseccomp once and cached. Thread-safe. Source: OCI runtime-spec, config-linux.md#seccomp;
 * the default profile is containerd's. */
#pragma once
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/err.h"

/* Shared and immutable; lives until its last unref. */
struct seccomp_filter {
        size_t n;
        const struct sock_filter *insns;
        uint32_t flags; /* SECCOMP_FILTER_FLAG_* for the load */
};

/* The default profile for a process with @caps in its bounding set (some calls are allowed only with CAP_SYS_ADMIN...).
 */
_must_use_ int seccomp_default(uint64_t caps, const struct seccomp_filter **ret, struct err *err);
/* The profile in the file @path (absolute). A missing file, bad JSON or unknown action: ERR_INVALID, naming it.
 * Read anew each time: it may change. */
_must_use_ int seccomp_read_profile(const char *path, uint64_t caps, const struct seccomp_filter **ret,
                                    struct err *err);
/* The same from text; @name stands for the file in errors. */
_must_use_ int seccomp_parse(const char *name, const char *json, size_t len, uint64_t caps,
                             const struct seccomp_filter **ret, struct err *err);
/* linux.seccomp of a config.json as text. Errors say "linux.seccomp". Members that only Docker's files have are
 * ignored.
 * @ret_notify: a rule is SCMP_ACT_NOTIFY, so that the filter has to be loaded with SECCOMP_FILTER_FLAG_NEW_LISTENER. */
_must_use_ int seccomp_parse_oci(const char *json, size_t len, const struct seccomp_filter **ret, bool *ret_notify,
                                 struct err *err);
const struct seccomp_filter *seccomp_unref(const struct seccomp_filter *f); /* NULL ok; returns NULL */
DEFINE_CLEANUP(const struct seccomp_filter *, seccomp_unref)
