/* SPDX-License-Identifier: Apache-2.0 */
/* cts - what the files of proxmox/ share. Private to them. */
#pragma once
#include <pthread.h>
#include "pve/ct.h"
#include "runtime/proxmox/ct.h"

struct ends;
struct isolation;
struct networks;
struct vmids;

struct cts {
        struct cts_args args;
        struct ends *ends;
        pthread_mutex_t template_lock;
        struct vmids *vmids;
        struct networks *networks;
        struct isolation *isolation;
        char *template_volume; /* once it is known to be on the storage */
};

/* At most as long as one operation may take. */
struct pve_until cts_until(const struct cts *c, const struct ct_until *until);
/* Does /etc/subuid or /etc/subgid with this text let root give all of ct_id_range to a container? */
bool ct_ids_granted(const char *subids);
