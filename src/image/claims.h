/* SPDX-License-Identifier: Apache-2.0 */
/* claims - which layers some pull is busy with, so that one is downloaded once however many pulls want it. Thread-safe.
 * Private to image/. */
#pragma once
#include <stdbool.h>

struct claims;

struct claims *claims_new(void);
struct claims *claims_free(struct claims *c); /* asserts that nothing is claimed */

/* Waits until nobody else has the claim on @chain_id, then has it; false when @cancel_fd became readable first. The
 * layer may be there by then: look. */
bool claims_take(struct claims *c, const char *chain_id, int cancel_fd);
void claims_drop(struct claims *c, const char *chain_id);
