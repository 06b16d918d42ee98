/* SPDX-License-Identifier: Apache-2.0 */
/* paths - what is hidden or read-only in a container whose configuration does not say. NULL-terminated; the field's
 * lists (containerd, CRI-O, Docker). */
#pragma once

extern const char *const paths_masked_default[];
extern const char *const paths_readonly_default[];
