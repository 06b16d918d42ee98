/* SPDX-License-Identifier: Apache-2.0 */
/* referrers - which manifests refer to a manifest (signatures, SBOMs, other artifacts), by the registry's API or, where
 * it has none, by the index that clients keep under the tag "sha256-HEX". Private to image/.
 * Source: distribution-spec 1.1, "Listing referrers", "Pushing manifests with subject". */
#pragma once
#include "image/image.h"
#include "image/upload.h"

enum { REFERRERS_MAX = 2000, REFERRERS_ARENA = 8 << 20 };

/* The entries of an index of referrers, added to @ret (@n of them); what is no descriptor is left out. Of
 * @artifact_type only, NULL: of all. ERR_EXHAUSTED past REFERRERS_MAX, or when @arena, of REFERRERS_ARENA, is full. */
_must_use_ int referrers_parse(const char *data, size_t len, const char *artifact_type, struct arena *arena,
                               struct image_referrer *ret, size_t *n, struct err *err);
/* All that refer to @digest; @ret has room for REFERRERS_MAX. */
_must_use_ int referrers_list(struct source *s, const char *digest, const char *artifact_type, struct arena *arena,
                              struct image_referrer *ret, size_t *ret_n, struct err *err);
/* upload_manifest(); and when the manifest has a subject that the registry does not take notice of, the index of that
 * subject's referrers gets it. */
_must_use_ int referrers_put(struct source *s, const struct upload_manifest *m, struct err *err);
