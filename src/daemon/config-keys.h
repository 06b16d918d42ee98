/* SPDX-License-Identifier: Apache-2.0 */
/* config-keys - the table of keys, as an array. Private to daemon/config*.c. */
#pragma once
#include <config.h> /* the build's: LIBEXECDIR, in the defaults */
#include "daemon/config.h"

enum {
#define X(key, field, ctype, type, def, min, max, help) CONFIG_KEY_##field,
        CONFIG_KEYS(X)
#undef X
                CONFIG_N_KEYS
};

struct config_key {
        const char *name, *def, *help;
        enum config_type type;
        size_t offset;
        int64_t min, max;
};

extern const struct config_key config_keys[CONFIG_N_KEYS];

const struct config_key *config_find_key(const char *name); /* NULL when unknown */
const char *config_nearest_key(const char *name);           /* a key that may have been meant, or NULL */
