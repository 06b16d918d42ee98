/* SPDX-License-Identifier: Apache-2.0 */
/* config-keys - the table of keys, as an array; and what its readers share. Private to daemon/config*.c. */
#pragma once
#include <config.h> /* the build's: LIBEXECDIR, in the defaults */
#include "base/yaml.h"
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

/* --- reading, for config.c and the files of single keys --- */

/* Where a value came from, for errors: "config.yaml:12: registries[0].insecure" or "--workers". */
struct config_place {
        const char *where; /* "config.yaml" or "--workers" */
        unsigned line;     /* 0: a flag */
        char key[128];
};

_printf_(3, 4) int config_bad(const struct config_place *p, struct err *err, const char *fmt, ...);
int config_check_path(const struct config_place *p, const char *path, struct err *err);
int config_set_bool(const struct config_place *p, const char *text, bool *ret, struct err *err);
int config_scalar_of(const struct yaml_node *n, const struct config_place *p, struct err *err);

int config_read_handlers(struct config *c, const struct yaml_node *n, const struct config_place *p, struct err *err);
int config_read_proxmox(struct config *c, const struct yaml_node *n, const struct config_place *p, struct err *err);
int config_read_network(struct config *c, const struct yaml_node *n, const struct config_place *p, struct err *err);
int config_settle_proxmox(struct config *c, struct err *err);
int config_read_layers(struct config *c, const struct yaml_node *n, const struct config_place *p, struct err *err);
int config_settle_layers(struct config *c, struct err *err);
/* The built-in ones are there, and the default one exists. */
int config_settle_handlers(struct config *c, struct err *err);
const struct pod_handler *config_find_handler(const struct config *c, const char *name); /* NULL: none */
int config_read_routes(struct config *c, const struct yaml_node *n, const struct config_place *p, struct err *err);
/* After the handlers. */
int config_settle_routes(const struct config *c, struct err *err);
