/* SPDX-License-Identifier: Apache-2.0 */
/* upload-address - what a registry says about an upload under way: where it goes on (Location) and how far it has come
 * (Range, OCI-Chunk-Min-Length). Pure functions on strangers' bytes; thread-safe. Private to image/.
 * Source: distribution-spec 1.1, "Pushing blobs". */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"

/* Where an upload goes on: @location, relative to @base (the URL that was asked) or absolute, with whatever query it
 * has. ERR_UNAVAILABLE when that is no URL, or one of plain http where @base is https. */
_must_use_ int upload_location(const char *base, const char *location, struct arena *arena, const char **ret,
                               struct err *err);
/* @location with "digest=" added to its query, which closes the upload. */
const char *upload_closing(const char *location, const char *digest, struct arena *arena);
/* How many bytes of @size the registry has, of "0-1023" or "bytes=0-1023". "0-0" is taken as none, which Docker's
 * registry says so; who is told of one byte finds out when the next ones don't fit. False for anything else, for what
 * does not start at 0 or is past @size. */
bool upload_range(const char *value, uint64_t size, uint64_t *ret_have);
/* "OCI-Chunk-Min-Length: 5242880"; 0 for NULL and nonsense. */
uint64_t upload_min_chunk(const char *value);
