/* SPDX-License-Identifier: Apache-2.0 */
/* cdi - Container Device Interface: what a named device ("vendor.com/class=name") needs in a container, from the
 * specifications that its vendor put into /etc/cdi and /var/run/cdi (JSON or YAML, read anew each time: they come and
 * go with drivers). What is not known is refused. Hooks are programs of the host's administrator: they come from these
 * files alone, never from an image or a pod. Private to pod/. */
#pragma once
#include "base/arena.h"
#include "base/yaml.h"
#include "pod/cri.h"
#include "runtime/spec/spec.h"

enum {
        CDI_MAX_DEVICES = 256,
        CDI_MAX_ITEMS = 4096,
        CDI_MAX_HOOKS = 64,          /* of one kind */
        CDI_HOOK_TIMEOUT_S = 120,    /* when the specification says none: the pod's other calls wait meanwhile */
        CDI_HOOK_TIMEOUT_MAX_S = 600 /* shorter than what a kubelet waits by far */
};

struct cdi_node {
        struct spec_device device;
        const char *access; /* "rwm" */
        bool has_uid, has_gid;
};

struct cdi_edits {
        const char **env; /* "K=V", NULL-terminated; NULL when there are no devices */
        struct cdi_node *nodes;
        struct spec_mount *mounts;
        gid_t *gids;
        size_t n_env, n_nodes, n_mounts, n_gids;
        struct spec_hook *hooks[SPEC_HOOK_MAX]; /* room for CDI_MAX_HOOKS each */
        size_t n_hooks[SPEC_HOOK_MAX];
};

/* Folders in the order of the specification: a later one's devices take the place of an earlier one's. NULL-terminated.
 */
extern const char *const cdi_folders[];

/* ERR_INVALID: a device that no specification has, or one that can't be made here. */
_must_use_ int cdi_resolve(const char *const *folders, CRI(CDIDevice) *const *devices, size_t n, struct arena *arena,
                           struct cdi_edits *ret, struct err *err);

/* cdi-edits.c: adds what @node, a "containerEdits" (NULL: none), asks for. @name: of the file. No I/O but stat(2) of
 * device nodes that say no number. */
_must_use_ int cdi_add_edits(const char *name, const struct yaml_node *node, struct arena *arena,
                             struct cdi_edits *edits, struct err *err);
const struct yaml_node *cdi_member(const struct yaml_node *map, const char *key);

/* Into a container's spec: nodes (in place of those with the same path) and their rules, groups, hooks. Environment and
 * mounts are the callers'. */
_must_use_ int cdi_apply(const struct cdi_edits *edits, struct arena *arena, struct spec *spec, struct err *err);
