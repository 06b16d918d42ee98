/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot - what image.h declares of snapshots, and what only image/ needs. On disk: snapshots/ID/{upper,work}; in the
 * store: STORE_SNAPSHOT, {"layers": [chain id, ...]}, by which images_new() counts holds. A snapshot exists when both
 * do. Private to image/. */
#pragma once
#include "image/image.h"

/* Removes what has a folder but no record, or a record but no folder: left over by a crash. Before serving. */
_must_use_ int snapshots_reconcile(struct images *s, struct err *err);
