/* SPDX-License-Identifier: Apache-2.0 */
/* doctor-proxmox - what the daemon finds out about Proxmox VE; it has the token. */
#include "base/str.h"
#include "cli/cri.h"
#include "cli/doctor.h"

enum { PROXMOX_TIMEOUT_MS = 60000 };

static enum doctor_level level_of(Proxmoxlxcri__V1__FindingLevel level) {
        switch (level) {
        case PROXMOXLXCRI__V1__FINDING_LEVEL__FINDING_OK:
                return DOCTOR_OK;
        case PROXMOXLXCRI__V1__FINDING_LEVEL__FINDING_WARN:
                return DOCTOR_WARN;
        default:
                return DOCTOR_FAIL;
        }
}

void doctor_check_proxmox(struct doctor *d, struct cli *cli) {
        Proxmoxlxcri__V1__CheckProxmoxRequest req = PROXMOXLXCRI__V1__CHECK_PROXMOX_REQUEST__INIT;
        Proxmoxlxcri__V1__CheckProxmoxResponse *res;
        uint64_t timeout_ms = cli->timeout_ms;
        struct err err;
        int r;

        cli->timeout_ms = MAX_OF(timeout_ms, (uint64_t) PROXMOX_TIMEOUT_MS);
        r = cli_call(cli, "/proxmoxlxcri.v1.Admin/CheckProxmox", &req.base,
                     &proxmoxlxcri__v1__check_proxmox_response__descriptor, PROXMOX_TIMEOUT_MS, &res, &err);
        cli->timeout_ms = timeout_ms;
        if (r < 0) {
                doctor_add(d, DOCTOR_FAIL, "Proxmox VE", "see the message", "%s", err.msg);
                return;
        }
        for (size_t i = 0; i < res->n_findings && d->n + 1 < DOCTOR_FINDINGS_MAX; i++) {
                const Proxmoxlxcri__V1__Finding *f = res->findings[i];

                doctor_add(d, level_of(f->level), f->name, str_empty(f->advice) ? NULL : f->advice, "%s", f->found);
        }
}
