/* SPDX-License-Identifier: Apache-2.0 */
/* json-splice - changes members of a JSON document and leaves all else byte for byte as it is: what we know nothing of,
 * numbers that no double holds, the order of members. No I/O; thread-safe. Private to image/. */
#pragma once
#include "base/strbuf.h"

/* @doc: an object that json_load_unique() has taken. @path: one or more names, NULL-terminated; objects on the way are
 * made where they are missing or null. @value: JSON text; NULL: the member goes. Past @doc's maximum it overflows. */
void json_splice(struct strbuf *doc, const char *const *path, const char *value);
/* One more at the end of the array behind @path, which is made where it is missing or null. What is no array stays. */
void json_splice_append(struct strbuf *doc, const char *const *path, const char *value);
