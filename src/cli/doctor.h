/* SPDX-License-Identifier: Apache-2.0 */
/* doctor - the checks behind "doctor": each looks at one thing of this host, works without the daemon, and changes
 * nothing. */
#pragma once
#include <stddef.h>
#include "base/arena.h"
#include "base/attr.h"

enum doctor_level { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor_finding {
        enum doctor_level level;
        const char *name, *found, *advice; /* advice: NULL when OK */
};

enum { DOCTOR_FINDINGS_MAX = 512 };

struct doctor {
        struct arena *arena;
        /* Where to look: the daemon's configuration when it answers, else the defaults. */
        const char *root, *state, *cni_conf_dir, *keeper_path, *init_path;
        const char *const *cni_bin_dirs; /* NULL-terminated */
        struct doctor_finding findings[DOCTOR_FINDINGS_MAX];
        size_t n;
};

/* @advice is ignored when @level is OK. */
_printf_(5, 6) void doctor_add(struct doctor *d, enum doctor_level level, const char *name, const char *advice,
                               const char *fmt, ...);
void doctor_check_kernel(struct doctor *d); /* kernel, file systems, system calls, security */
void doctor_check_cgroups(struct doctor *d);
void doctor_check_network(struct doctor *d); /* CNI, forwarding, bridge filter */
void doctor_check_host(struct doctor *d);    /* programs, folders, space */
struct cli;
void doctor_check_proxmox(struct doctor *d, struct cli *cli); /* by the daemon, which must answer */
