/* SPDX-License-Identifier: Apache-2.0 */
/* create - how the engine makes a container: by liblxc (create-lxc.c), or by crun (create-crun.c). Its cgroup is there
 * already; what fails leaves things for the engine's remove to take back. Private to the engine. */
#pragma once
#include "keeper/client.h"
#include "runtime/engine.h"
#include "runtime/hooks/hooks.h"
#include "runtime/lxc/items.h"
#include "runtime/lxc/plan.h"

enum { STATE_DIR_MAX = 256, HOOKS_CALL_TIMEOUT_MS = 60000, HOOKS_FOR_EVER_MS = 1 << 30 };

struct engine_lxc {
        struct engine base; /* first */
        struct cgroups *cgroups;
        struct keeper_client *keeper;
        struct plan_host host;
        char state_dir[STATE_DIR_MAX], rootfs_dir[STATE_DIR_MAX + 16], bundles_dir[STATE_DIR_MAX + 16];
        char *hooks_root; /* rootfs_dir without symlinks */
        int containers_fd;
        int home_fd; /* our own cgroup's, where monitors go back to; -1: no v2 */
        void (*exited)(const char *id, void *userdata);
        void *userdata;
        struct items items;
};

/* @reply: its init. */
_must_use_ int engine_create_by_lxc(struct engine_lxc *e, const struct spec *spec, const struct engine_stdio *io,
                                    struct keeper_reply *reply, struct err *err);
_must_use_ int engine_create_by_crun(struct engine_lxc *e, const struct spec *spec, const struct engine_stdio *io,
                                     struct keeper_reply *reply, struct err *err);

/* Whoever is root in there on the host: streams are made for that user. */
_must_use_ int engine_take_root(const struct id_maps *ids, struct keeper_call *call, struct err *err);
/* Replies to calls in which init runs hooks take as long as those may. */
uint64_t engine_timeout_with_hooks(const struct spec_hooks *hooks, enum spec_hook_kind kind);
struct hook_state engine_hook_state(const struct spec *spec, const char *bundle, const char *status);
