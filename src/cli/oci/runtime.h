/* SPDX-License-Identifier: Apache-2.0 */
/* runtime - what the OCI runtime's verbs share. Single-threaded; one verb runs and the process ends, so what it takes
 * from the arena is not given back one by one. A verb returns its exit status, or -code and an error, which main() logs
 * and prints. */
#pragma once
#include "cli/oci/log.h"
#include "cli/oci/verbs.h"
#include "oci/oci.h"
#include "runtime/cgroup/cgroup.h"

struct runtime {
        struct oci oci;
        struct oci_log log;
        struct arena *arena;
        char *const *argv;       /* all of the command line */
        struct cgroups *cgroups; /* found by the first runtime_open() */
};

#define X(word) _must_use_ int oci_do_##word(struct runtime *rt, const struct cli_args *args, struct err *err);
OCI_VERBS(X)
#undef X

/* "table" or "json"; else ERR_INVALID. */
_must_use_ int runtime_format(const struct cli_args *args, bool *ret_json, struct err *err);
/* A container that there is, as it is now; not locked. */
struct runtime_container {
        struct oci_dir dir;
        struct oci_state state;
        enum oci_status status;
        struct cgroups *cgroups; /* the runtime's */
};
_must_use_ int runtime_open(struct runtime *rt, const char *id, struct runtime_container *ret, struct err *err);
/* The same for one after the other, ids from oci_list(): @c begins with oci_root_open()'s dir, and keeps what they
 * share. */
_must_use_ int runtime_look(struct runtime *rt, const char *id, struct runtime_container *c, struct err *err);
void runtime_container_done(struct runtime_container *c);
/* --preserve-fds. */
enum { RUNTIME_PRESERVE_FDS_MAX = 4096 };
_must_use_ int runtime_preserve_fds(const struct cli_args *args, unsigned *ret, struct err *err);
/* What @args name: ids, or with --regex all containers that match one of them. NULL-terminated. */
_must_use_ int runtime_ids(const struct runtime *rt, const struct cli_args *args, size_t n, const char *const **ret,
                           struct err *err);
