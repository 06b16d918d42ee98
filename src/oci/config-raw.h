/* SPDX-License-Identifier: Apache-2.0 */
/* config-raw - the text of a member as it stands in JSON that is known to be valid: cheaper than to write it anew, when
 * it is only passed on. Pure. Private to oci/. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct config_raw {
        const char *text; /* NULL: there is no such member */
        size_t len;
};

/* The member @key of the object @in; the last one, if there are several, as jansson takes it. False: a name is written
 * with escapes, so that it can't be told. */
bool config_raw_member(struct config_raw in, const char *key, struct config_raw *ret);
