/* SPDX-License-Identifier: Apache-2.0 */
/* cni-conf - CNI network configurations: found in a folder, checked, and turned into what a plug-in reads on its
 * standard input. cni_conf_parse() does no I/O. A configuration does not change once made. Private to net/. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/cleanup.h"
#include "base/err.h"

enum {
        CNI_CONF_MAX_BYTES = 256 * 1024,
        CNI_CONF_MAX_VALUES = 20000,
        CNI_PLUGINS_MAX = 32,
        CNI_NAME_MAX = 200, /* names become file names of plug-ins' data */
};

struct cni_conf {
        char *name, *file;   /* @file: NULL when it came from no folder */
        const char *version; /* the highest that the configuration allows and we know; static */
        json_t *plugins;     /* array of objects, as in the file */
        bool inlined_only;   /* loadOnlyInlinedPlugins */
};

struct cni_conf *cni_conf_free(struct cni_conf *c);
DEFINE_CLEANUP(struct cni_conf *, cni_conf_free)

/* One file's text: a list ("plugins") or, where @may_be_single, one plug-in's object. ERR_INVALID with the reason. */
_must_use_ int cni_conf_parse(const char *text, size_t len, bool may_be_single, struct cni_conf **ret, struct err *err);
/* The same from JSON in memory: what cni_conf_to_json() gave. */
_must_use_ int cni_conf_from_json(const json_t *list, struct cni_conf **ret, struct err *err);
json_t *cni_conf_to_json(const struct cni_conf *c); /* new reference */

/* The lexically first *.conflist, *.conf or *.json of @dir, hidden ones left out. When that one is broken there is no
 * network, instead of the next one that may be another. ERR_PRECONDITION with the reason; @ret_none: there is none. */
_must_use_ int cni_conf_load(const char *dir, struct cni_conf **ret, bool *ret_none, struct err *err);

/* Has @dir a configuration but @name? A missing folder has none. */
_must_use_ int cni_conf_has_others(const char *dir, const char *name, bool *ret, struct err *err);

const char *cni_conf_type(const struct cni_conf *c, size_t i);
/* The plug-in that plug-in @i delegates addresses to, or NULL. */
const char *cni_conf_ipam_type(const struct cni_conf *c, size_t i);
bool cni_conf_has_status(const struct cni_conf *c); /* STATUS exists from 1.1.0 on */

/* What plug-in @i reads: a new reference. Of @capabilities (name -> value) those that it declares go to runtimeConfig;
 * @prev may be NULL. */
json_t *cni_conf_input(const struct cni_conf *c, size_t i, const json_t *capabilities, const json_t *prev);

/* Our own string for a CNI version, or NULL when unknown. */
const char *cni_version(const char *text);
int cni_version_compare(const char *a, const char *b); /* of two known ones */
