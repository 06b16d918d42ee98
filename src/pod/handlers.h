/* SPDX-License-Identifier: Apache-2.0 */
/* handlers - RuntimeClass handlers: the names that pods may ask for and what each stands for. A pod keeps what its
 * handler said when the pod was made: whatever becomes of the configuration, its containers are made, joined, stopped
 * and removed as the first one was. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"
#include "pod/cri.h"

#define HANDLER_DEFAULT "lxc" /* always there */
#define HANDLER_ENGINE_LXC "lxc"
#define HANDLER_ENGINE_PROXMOX "proxmox"
#define HANDLER_ENGINE_CRUN "crun"

struct pod_handler {
        const char *name;            /* handler_name_valid() */
        const char *engine;          /* handler_engine_known() */
        const char *seccomp_profile; /* a file to take for RuntimeDefault; NULL: the built-in one */
        bool privileged_without_host_devices;
};

/* As Kubernetes has them: a DNS label. */
bool handler_name_valid(const char *name);
bool handler_engine_known(const char *engine);
extern const char handler_engine_names[]; /* for people */

struct pods;
struct sandbox;

/* Can every handler do what it says? Errors name the handler. Private to pod/, as the rest. */
_must_use_ int handlers_check(const struct pods *p, struct err *err);
/* The name of the one for a pod that asks for none: a route's, or the default. */
const char *handlers_choose(const struct pods *p, const CRI(PodSandboxConfig) * config);
/* ERR_INVALID names those that there are. */
_must_use_ int handlers_find(const struct pods *p, const char *name, const struct pod_handler **ret, struct err *err);
/* Before anybody else knows @s. */
void sandbox_take_handler(struct sandbox *s, const struct pod_handler *h);
