/* SPDX-License-Identifier: Apache-2.0 */
/* cluster - what there is on the other side: its version, which node is ours, nodes and storages. */
#pragma once
#include "pve/pve.h"

struct pve_version {
        unsigned major, minor;
};

enum pve_feature {
        PVE_FEATURE_HA_RULES,     /* /cluster/ha/rules instead of groups */
        PVE_FEATURE_HOST_MANAGED, /* netN host-managed=1: the host sets addresses, not the container's init */
        PVE_FEATURE_ENTRYPOINT,   /* entrypoint, env, OCI images as templates */
        PVE_FEATURE_MP_IDMAP,     /* mpN idmap= */
};

/* PVE_UNSUPPORTED for others than 7 to 9. */
_must_use_ int pve_get_version(struct pve *p, const struct pve_until *until, struct pve_version *ret, struct err *err);
bool pve_has(const struct pve_version *v, enum pve_feature feature);

enum { PVE_NODE_MAX = 64 };
/* The node that this process runs on: the only one, or the one with @host_name (up to its first dot). Which host
 * answers says nothing, any of the cluster does. ERR_PRECONDITION names those that there are. */
_must_use_ int pve_find_node(struct pve *p, const char *host_name, const struct pve_until *until,
                             char ret[PVE_NODE_MAX], struct err *err);

/* Lists and objects as the API gives them, in "data"; json_unref() @ret. */
_must_use_ int pve_list_nodes(struct pve *p, const struct pve_until *until, json_t **ret, struct err *err);
_must_use_ int pve_node_status(struct pve *p, const char *node, const struct pve_until *until, json_t **ret,
                               struct err *err);

struct pve_storage {
        const char *node, *name;
};
/* Its type, space, kinds of content; as seen from the node. */
_must_use_ int pve_storage_status(struct pve *p, const struct pve_storage *s, const struct pve_until *until,
                                  json_t **ret, struct err *err);
/* @content: "vztmpl", "backup", ... */
_must_use_ int pve_storage_list(struct pve *p, const struct pve_storage *s, const char *content,
                                const struct pve_until *until, json_t **ret, struct err *err);
/* The template in @file, as "NAME:vztmpl/@filename". An older one of that name is replaced. */
_must_use_ int pve_storage_upload(struct pve *p, const struct pve_storage *s, const char *file, const char *filename,
                                  const struct pve_until *until, struct err *err);
/* Where the volume is on that node, which need not be this one. @ret: free() it. PVE_NO_VOLUME. */
_must_use_ int pve_storage_path(struct pve *p, const struct pve_storage *s, const char *volid,
                                const struct pve_until *until, char **ret, struct err *err);
/* @volid: "NAME:vztmpl/file.tar". */
_must_use_ int pve_storage_delete(struct pve *p, const struct pve_storage *s, const char *volid,
                                  const struct pve_until *until, struct err *err);
