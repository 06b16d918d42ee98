/* SPDX-License-Identifier: Apache-2.0 */
/* prepared - CTs of the warm pool (warm.h) at Proxmox: made, found again after a restart, and given to pods by one
 * request. Private to runtime/proxmox/; thread-safe. */
#pragma once
#include "runtime/proxmox/cts.h"
#include "runtime/proxmox/warm.h"

enum { PREPARED_RECIPE_MAX = CLAIM_RECIPE_MAX };

extern const struct warm_ops prepared_ops; /* userdata: struct cts */

/* What those are made of that are made now. A CT of another recipe is of no use. */
void prepared_recipe(const struct cts *c, const char *template_volume, char ret[PREPARED_RECIPE_MAX]);
/* Is there a prepared CT for it? @ret is the pod's then. Whatever goes wrong with those that there are: false. */
bool prepared_take(struct cts *c, const struct ct_pod *pod, const struct pve_until *until, struct ct *ret);
/* A CT of ours that claims to be prepared: kept when it runs and is as we make them, else removed. @recipe: the one of
 * now. */
void prepared_found(struct cts *c, const struct pve_ct *ct, const json_t *config, const struct claim *claim,
                    const char *recipe);
