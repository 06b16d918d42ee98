/* SPDX-License-Identifier: Apache-2.0 */
/* ct-list - pods whose home is a Proxmox container, for what is done with those beside the CRI. Thread-safe. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"

struct pods;

struct pod_in_ct {
        const char *id, *name, *pod_namespace;
        uint32_t vmid; /* 0: it has none, or is being made, stopped or removed */
        bool ready;
};

/* Does not wait for what is done to pods. @ret: of @arena. */
void pods_list_cts(struct pods *p, struct arena *arena, struct pod_in_ct **ret, size_t *ret_n);
