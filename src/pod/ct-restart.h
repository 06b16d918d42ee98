/* SPDX-License-Identifier: Apache-2.0 */
/* ct-restart - a pod goes on though its Proxmox container (CT) is stopped and started: for what Proxmox does to stopped
 * ones only, as a rollback of what the pod wrote. Its containers are made anew on their layers as these are then, with
 * their ids and logs; CRI shows nothing of it but other process ids and, with CNI, perhaps another address. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "pod/pod.h"

/* Is it a pod that is ready, with its writable layers in its CT @vmid? What is so now may not be so a moment later. */
bool pods_can_restart_ct(struct pods *p, const char *id, uint32_t vmid);

struct ct_restart {
        /* Is to stop the CT; it is started after. Called with the pod locked. */
        int (*act)(void *userdata, struct err *err);
        void *userdata;
};

/* @act's error, if it has one. When the CT has not been stopped, nothing has happened; when the pod can't be brought
 * back, it is not ready and its containers have ended, as when the CT had ended by itself. ERR_PRECONDITION: it is no
 * such pod. */
_must_use_ int pods_restart_ct(struct pods *p, const struct pods_ctx *ctx, const char *id, const struct ct_restart *how,
                               struct err *err);
