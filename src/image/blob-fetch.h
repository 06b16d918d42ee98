/* SPDX-License-Identifier: Apache-2.0 */
/* blob-fetch - a blob from a registry into the content store. Private to image/. */
#pragma once
#include "image/content.h"
#include "image/manifest.h"
#include "image/registry.h"

/* Checked, and on disk when it returns. The caller holds it. */
_must_use_ int blob_fetch(struct content *c, struct source *from, const struct descriptor *d, struct err *err);
