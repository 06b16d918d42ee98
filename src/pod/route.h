/* SPDX-License-Identifier: Apache-2.0 */
/* route - which handler a pod gets that names none: rules in order, the first one that matches wins, else the default.
 * Pure; thread-safe. Patterns: '*' stands for any text, also none, '?' for one character. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

/* The pod's image, for rules that ask for one: the kubelet names none when it makes a pod's sandbox. */
#define ROUTE_IMAGE_ANNOTATION "proxmox-lxcri.io/image"

struct route_entry {
        const char *key, *pattern; /* the pod has @key, with a value like that */
};

/* All that is given must match. */
struct route_rule {
        const char *pod_namespace, *name; /* patterns; NULL: any */
        const char *image;                /* of the full reference, "docker.io/library/nginx:1"; NULL: any */
        const struct route_entry *labels, *annotations;
        size_t n_labels, n_annotations;
        const char *handler;
        const char *where; /* "config.yaml:12" */
};

struct routes {
        const struct route_rule *list;
        size_t n;
};

/* What rules look at; strings may be NULL, the lists are map entries of CRI's messages. */
struct route_pod {
        const char *pod_namespace, *name, *image; /* in any form that references have */
        const void *labels, *annotations;
        size_t n_labels, n_annotations;
};

bool route_glob(const char *pattern, const char *text);
/* Does it match whatever the pod is? */
bool route_matches_all(const struct route_rule *rule);
/* NULL: it matches. Otherwise why it does not, for people, in @arena. */
const char *route_mismatch(const struct route_rule *rule, const struct route_pod *pod, struct arena *arena);
/* The first that matches, or NULL. */
const struct route_rule *route_find(const struct routes *routes, const struct route_pod *pod);
