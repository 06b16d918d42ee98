/* SPDX-License-Identifier: Apache-2.0 */
/* rest - operations on pods' Proxmox containers, as HTTP with JSON on a unix socket: operations.h has them all. The
 * token for Proxmox stays here; who may open the socket may do what it can. */
#pragma once
#include <stdint.h>
#include "base/cleanup.h"
#include "base/err.h"

struct pods;
struct pve;
struct rest;

struct rest_args {
        const char *socket; /* made, for root alone; removed at the end */
        struct pve *pve;    /* borrowed, as all that follows */
        struct pods *pods;
        const char *node;               /* ours, as the cluster names it */
        const char *storage;            /* of pods' containers */
        const char *pool;               /* that they are in, and so copies of them; NULL: none */
        uint32_t vmid_first, vmid_last; /* of these: nothing else gets a number of theirs */
};

_must_use_ int rest_new(const struct rest_args *args, struct rest **ret, struct err *err);
/* Operations under way are given up; tasks that Proxmox has begun go on there. */
struct rest *rest_free(struct rest *r);
DEFINE_CLEANUP(struct rest *, rest_free)
