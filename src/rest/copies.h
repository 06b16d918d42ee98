/* SPDX-License-Identifier: Apache-2.0 */
/* copies - what clones and restored backups have in common. Private to rest/. */
#pragma once
#include "rest/call.h"

#define REST_COPY_TAG "proxmox-lxcri-copy" /* not the tag of pods' containers */

/* Calls @make with the number that was asked for ("vmid"), or with free ones as long as another is faster
 * (PVE_EXISTS). None of the pods' range. */
_must_use_ int rest_with_new_id(struct rest_call *c,
                                int (*make)(struct rest_call *c, unsigned vmid, void *userdata, struct err *err),
                                void *userdata, unsigned *ret, struct err *err);
/* Takes the tag away, with a @description the claim, and with @drop_card what has the pod's address. */
_must_use_ int rest_disown(struct rest_call *c, const struct pve_ct *ct, const char *description, bool drop_card,
                           struct err *err);
