/* SPDX-License-Identifier: Apache-2.0 */
/* discards - CTs that are to go, removed one after the other by a thread in the background, each tried until it is
 * done. Thread-safe. */
#pragma once
#include "runtime/proxmox/ct.h"

/* Removes CT @vmid for good, if it still is of nobody, or of pod @pod_id ("": no pod). Repeatable; may block, until
 * @until. */
typedef int (*discards_drop_fn)(uint32_t vmid, const char *pod_id, const struct ct_until *until, void *userdata,
                                struct err *err);

struct discards;

/* @stop_fd: readable when what is under way is to be given up; borrowed. */
struct discards *discards_new(discards_drop_fn drop, void *userdata, int stop_fd);
struct discards *discards_free(struct discards *d); /* after that; what was not done yet stays there */
DEFINE_CLEANUP(struct discards *, discards_free)

/* Again before it is done: fine. */
void discards_add(struct discards *d, uint32_t vmid, const char *pod_id);
/* Is it waiting, or under way? */
bool discards_has(struct discards *d, uint32_t vmid);
