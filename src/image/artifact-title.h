/* SPDX-License-Identifier: Apache-2.0 */
/* artifact-title - what the files of an artifact are called (org.opencontainers.image.title, as ORAS has it): paths
 * that strangers have written. Pure functions; thread-safe. */
#pragma once
#include <stdbool.h>

enum { ARTIFACT_TITLE_MAX = 1024, ARTIFACT_TITLE_DEPTH_MAX = 32 };

/* Is it a path below wherever it is put: not empty, not absolute, with no component "", "." or "..", nothing that a
 * terminal would obey, components that a file may be called? */
bool artifact_title_is_safe(const char *title);
/* "type/subtype" as RFC 6838 has it. */
bool media_type_is_valid(const char *s);
