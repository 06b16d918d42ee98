/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/ct-restart.h"
#include "rest/call.h"

bool rest_can_pause(struct rest_call *c, const struct owned *t) {
        return t->running && !t->managed_by_ha && pods_can_restart_ct(c->rest->pods, t->claim.pod_id, t->vmid);
}

int rest_pause(struct rest_call *c, const struct owned *t, int (*act)(void *userdata, struct err *err), void *userdata,
               struct err *err) {
        const struct pods_ctx ctx = { c->until.cancel_fd, c->until.deadline_ns };

        rest_tell(c, "container %u is stopped for it; the pod's containers start again after", t->vmid);
        return pods_restart_ct(c->rest->pods, &ctx, t->claim.pod_id, &(struct ct_restart){ act, userdata }, err);
}
