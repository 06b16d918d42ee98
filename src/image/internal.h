/* SPDX-License-Identifier: Apache-2.0 */
/* internal - what the files of image/ share behind struct images. Private to image/.
 * Owners: layers, root_fd and snapshots_fd are made and freed by images_new/images_free; snapshot.c only reads them.
 * snapshots_init() must run in images_new() after layers and store are set. */
#pragma once
#include <stdint.h>
#include "base/err.h"
#include "image/image.h"
#include "image/layer.h"

struct images {
        struct layers *layers; /* layer.h */
        struct store *store;   /* borrowed */
        char *root;            /* "/var/lib/proxmox-lxcri" */
        int root_fd;           /* O_PATH | O_DIRECTORY of root */
        int snapshots_fd;      /* of root/snapshots; set by snapshots_init() */
};

/* Makes root/snapshots and opens it; snapshots_done() closes it. */
_must_use_ int snapshots_init(struct images *s, struct err *err);
void snapshots_done(struct images *s);
/* Removes half-made and half-removed snapshots; images_reconcile() calls it. */
_must_use_ int snapshots_reconcile(struct images *s, struct err *err);
/* Whether a snapshot on disk is built on @chain_id: such a layer must not be removed. */
_must_use_ int snapshots_use_layer(struct images *s, const char *chain_id, bool *ret, struct err *err);
/* Removes half-written layers (layers/tmp) and dangling names; images_reconcile() calls it. */
_must_use_ int layers_reconcile(struct layers *l, struct err *err);
