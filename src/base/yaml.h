/* SPDX-License-Identifier: Apache-2.0 */
/* yaml - a small YAML document as a tree in an arena, with lines, for people's configuration files. Bounded: size,
 * depth, number of nodes; anchors, aliases, tags and several documents are refused. Also for JSON, of which YAML is a
 * superset: CDI specifications (pod/cdi.c). */
#pragma once
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
        enum yaml_kind kind;
        unsigned line;           /* from 1 */
        const char *key;         /* of a map's child */
        const char *text;        /* of a scalar, never NULL */
        struct yaml_node *child; /* first of a list or map */
        struct yaml_node *next;  /* sibling */
};

/* @ret: the root, NULL for an empty document. Duplicate keys are refused. Errors begin "NAME:LINE: ". */
_must_use_ int yaml_read(const char *name, const char *text, size_t len, struct arena *arena, struct yaml_node **ret,
                         struct err *err);
const char *yaml_kind_name(enum yaml_kind kind);
