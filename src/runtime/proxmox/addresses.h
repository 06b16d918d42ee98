/* SPDX-License-Identifier: Apache-2.0 */
/* addresses - which of our pods has which address. What it knows is gathered anew at each start, from the
 * configurations of our CTs and from pods' records: a crash leaves nothing behind here. Addresses go round, so that one
 * that was just given back is not given out again soon. Thread-safe. */
#pragma once
#include "base/cleanup.h"
#include "base/ip.h"

struct addresses;

struct addresses *addresses_new(void);
struct addresses *addresses_free(struct addresses *a);
DEFINE_CLEANUP(struct addresses *, addresses_free)

enum { ADDRESSES_ID_MAX = 65 };

/* @address is pod @id's from now on. False: it is another pod's, whose id is in @ret_other, if not NULL. */
_must_use_ bool addresses_hold(struct addresses *a, const struct ip *address, const char *id,
                               char ret_other[ADDRESSES_ID_MAX]);
/* A free one of @range that a host can have and that is not @gateway. False: there is none. */
_must_use_ bool addresses_take(struct addresses *a, const struct ip_range *range, const struct ip *gateway,
                               const char *id, struct ip *ret);
bool addresses_has(struct addresses *a, const struct ip *address, const char *id);
/* All of pod @id; none is fine. */
void addresses_give_back(struct addresses *a, const char *id);
