/* SPDX-License-Identifier: Apache-2.0 */
/* hasher - the SHA-256 of a stream of bytes, for many streams at once: two of them take a CPU hardly longer than one
 * (sha256.h). So a stream may leave bytes for whoever hashes next in this process, to be done beside its own. Where the
 * CPU has no such instructions, OpenSSL does one after another. One caller at a time for each hasher. */
#pragma once
#include <stddef.h>
#include "base/cleanup.h"

struct hasher;

struct hasher *hasher_new(void);
/* Nothing may be left; NULL ok. */
struct hasher *hasher_free(struct hasher *h);
DEFINE_CLEANUP(struct hasher *, hasher_free)

void hasher_update(struct hasher *h, const void *data, size_t len);
/* Another may hash them meanwhile: they stay as they are until hasher_settle(). */
void hasher_leave(struct hasher *h, const void *data, size_t len);
/* Of what was left, all but the last @pieces is hashed when this returns. */
void hasher_settle(struct hasher *h, size_t pieces);
/* Of all of it, in hexadecimal; the last call but hasher_free(). */
void hasher_end(struct hasher *h, char ret[65]);
