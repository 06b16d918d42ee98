/* SPDX-License-Identifier: Apache-2.0 */
/* daemon - proxmox-lxcrid's parts, put together: made bottom up, taken down in reverse. Used by main.c alone. */
#pragma once
#include <systemd/sd-event.h>
#include "base/cleanup.h"
#include "base/err.h"
#include "daemon/config.h"

struct daemon;

/* Folders, lock, store, images, network, keeper, pods (reconciled), and at last the socket: whoever can connect is
 * served. */
_must_use_ int daemon_new(const struct config *conf, sd_event *loop, struct daemon **ret, struct err *err);
/* No new calls, those in progress end (or are cut off after ten seconds), then the loop exits. Containers live on. */
void daemon_stop(struct daemon *d);
struct daemon *daemon_free(struct daemon *d);
DEFINE_CLEANUP(struct daemon *, daemon_free)
